/** Where one component of a rootfs goes, and the step that all kinds share: mount, and record how to undo it. */

import { ShimError } from "../base/error.ts";
import type { Children } from "../linux/children.ts";
import { pageBytes } from "../linux/memory.ts";
import { MS_REMOUNT, mount } from "../linux/mount.ts";
import { detachMount } from "./unmount.ts";

/** What a component needs besides its own values. */
export interface ComponentPlace {
  /** Where to mount: absolute, without symlinks. */
  readonly target: string;
  readonly children: Children;
  /** What helper programs are started with, `NAME=value`. */
  readonly environment: readonly string[];
  readonly undo: DisposableStack;
}

/** Calls mount(2) and records what undoes it. Throws SystemError. */
export function mountRecorded(
  place: ComponentPlace,
  call: Omit<Parameters<typeof mount>[0], "target">,
): void {
  mount({ ...call, target: place.target });
  // A remount makes no mount that could be undone.
  if ((call.flags & MS_REMOUNT) === 0) recordMount(place);
}

/** Records that a mount was just put on top of the place. */
export function recordMount({ undo, target }: ComponentPlace): void {
  undo.defer(() => detachMount(target));
}

/** Whether mount(2) reads all of `data`: a page, the last byte being NUL. */
export function isFitting(data: string): boolean {
  return Buffer.byteLength(data) < pageBytes();
}

/** Throws ShimError `invalidArgument` for data that mount(2) would cut short. */
export function requireFitting(data: string, advice: string): void {
  if (isFitting(data)) return;
  throw new ShimError(
    "invalidArgument",
    `mount options is too long: ${Buffer.byteLength(data)} bytes where the kernel reads ${pageBytes() - 1}: ${advice}`,
  );
}
