/**
 * Status codes of gRPC, which ttrpc shares, and how they map to reasons and back.
 *
 * Both directions are total: whatever a handler throws, the peer gets an answer, and whatever number a peer
 * sends, the caller gets a reason.
 */

import { messageOf, type Reason, reasons, ShimError } from "../base/error.ts";

export const CODE_OK = 0;

/** The code of the first reason; 0 is success. */
const FIRST_CODE = 1;

export interface Status {
  /** As gRPC numbers them; 0 is success. */
  readonly code: number;
  readonly message: string;
}

/** The number of a reason on the wire. */
export function codeOf(reason: Reason): number {
  return reasons.indexOf(reason) + FIRST_CODE;
}

/** The reason that a number stands for. An undefined number is `unknown`. */
export function reasonOf(code: number): Reason {
  return reasons[code - FIRST_CODE] ?? "unknown";
}

/**
 * The suffixes of containerd's own errors (its errdefs package). Its newer clients look for them, its older
 * ones strip them, so a status carries them for these reasons.
 */
const SUFFIX: Readonly<Partial<Record<Reason, string>>> = {
  notFound: ": not found",
  alreadyExists: ": already exists",
  failedPrecondition: ": failed precondition",
};

/** Turns anything thrown into what the peer is told. A cause is never sent. */
export function statusOf(thrown: unknown): Status {
  const reason = reasonOfThrown(thrown);
  const message = messageOf(thrown);
  const suffix = SUFFIX[reason] ?? "";
  return { code: codeOf(reason), message: message.endsWith(suffix) ? message : message + suffix };
}

/** Turns what a peer sent into the error its caller catches. */
export function errorOf(status: Status): ShimError {
  const reason = reasonOf(status.code);
  const suffix = SUFFIX[reason] ?? "";
  const isMarked = suffix !== "" && status.message.endsWith(suffix);
  return new ShimError(reason, isMarked ? status.message.slice(0, -suffix.length) : status.message);
}

/** An abort that a handler lets through is the caller's own doing, not a fault of the handler. */
function reasonOfThrown(thrown: unknown): Reason {
  if (thrown instanceof ShimError) return thrown.reason;
  if (!(thrown instanceof Error)) return "unknown";
  if (thrown.name === "AbortError") return "canceled";
  if (thrown.name === "TimeoutError") return "deadlineExceeded";
  return "unknown";
}
