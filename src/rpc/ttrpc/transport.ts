/**
 * A connected byte stream, as far as ttrpc needs one. `net.ts` and `bun.ts` make them.
 *
 * A transport keeps no bytes back: what the kernel does not take stays with the caller, so that
 * only one place has a queue and a bound.
 */

export interface TransportEvents {
  /** `chunk` is given away: the transport will not touch it again. */
  onData(chunk: Uint8Array): void;
  /** A write that took less than all may be continued. */
  onDrain(): void;
  /** The last event, exactly once, also after `destroy`. The error says why, where one is known. */
  onClosed(error: Error | undefined): void;
}

export interface Transport {
  /** The descriptor, lent, where the transport has one: for a handoff or a look at the peer. */
  readonly fd: number | undefined;
  /** The peer speaks a protocol other than ttrpc: what is in flight on it is not known here. */
  readonly isForeign?: boolean;
  /** Events are held until this call, and may come within it. Call it once. */
  start(events: TransportEvents): void;
  /**
   * Writes as much as can be taken now and returns the count of bytes; after fewer than all,
   * {@link TransportEvents.onDrain} follows. `bytes` must not change later.
   */
  write(bytes: Uint8Array): number;
  /** Stops reading. The peer feels it once the kernel's buffers are full. */
  pause(): void;
  resume(): void;
  /** Closes once what was written has been sent. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
}
