/**
 * The one error type that crosses layers.
 *
 * Lower layers throw it with a {@link Reason}; `rpc/status.ts` makes a number of that for the wire. An
 * error of any other type is a bug or a kernel refusal, and reaches the caller as `unknown`.
 */

/** In the order of gRPC's status codes, from 1 on. */
export const reasons = [
  "canceled",
  "unknown",
  "invalidArgument",
  "deadlineExceeded",
  "notFound",
  "alreadyExists",
  "permissionDenied",
  "resourceExhausted",
  "failedPrecondition",
  "aborted",
  "outOfRange",
  "unimplemented",
  "internal",
  "unavailable",
  "dataLoss",
  "unauthenticated",
] as const;

export type Reason = (typeof reasons)[number];

export class ShimError extends Error {
  override readonly name = "ShimError";
  readonly reason: Reason;

  constructor(reason: Reason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Whether it is a ShimError for this reason. */
export function hasReason(thrown: unknown, reason: Reason): boolean {
  return thrown instanceof ShimError && thrown.reason === reason;
}

/**
 * The text of anything thrown, for a log line or a message that wraps it. If undoing failed after a failure, that of
 * the first: the language gives the two together no text.
 */
export function messageOf(thrown: unknown): string {
  // By its name: Node 20, where the library runs too, has no such class.
  if (thrown instanceof Error && thrown.name === "SuppressedError" && "suppressed" in thrown) {
    return messageOf(thrown.suppressed);
  }
  return thrown instanceof Error ? thrown.message : String(thrown);
}
