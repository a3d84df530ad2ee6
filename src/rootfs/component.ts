/**
 * Mounts one component of a rootfs, in as many kernel calls as its options need.
 *
 * What it means is containerd's definition (core/mount); how to undo it is pushed onto the caller's stack
 * right after each mount.
 */

import { attachMount, changeMount, cloneMount, MOUNT_ATTR_IDMAP } from "../linux/detached-mount.ts";
import type { OwnedFd } from "../linux/fd.ts";
import { openLoopDevice } from "../linux/loop-device.ts";
import {
  MS_BIND,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_RELATIME,
  MS_REMOUNT,
  mount,
  topMountAt,
} from "../linux/mount.ts";
import { isInUserNamespace, openUserNamespace } from "../linux/user-namespace.ts";
import { helperFor, mountWithHelper } from "./mount-helper.ts";
import { type MountOptions, parseMountOptions, type RootfsMount } from "./mount-option.ts";
import { type ComponentPlace, mountRecorded, recordMount, requireFitting } from "./mount-place.ts";
import { mountMappedOverlay, mountOverlay } from "./overlay-mount.ts";

/** What the owner of a user namespace may not remove from a mount that came from outside it. */
const LOCKABLE: ReadonlyMap<string, number> = new Map([
  ["ro", MS_RDONLY],
  ["nosuid", MS_NOSUID],
  ["nodev", MS_NODEV],
  ["noexec", MS_NOEXEC],
  ["noatime", MS_NOATIME],
  ["nodiratime", MS_NODIRATIME],
  ["relatime", MS_RELATIME],
]);

/** Mounts `component`. Throws SystemError or ShimError; then the caller disposes `place.undo`. */
export async function mountComponent(component: RootfsMount, place: ComponentPlace): Promise<void> {
  const helper = helperFor(component.type);
  if (helper !== undefined) {
    await mountWithHelper(helper, component, place);
    return;
  }
  const options = parseMountOptions(component.options);
  const { idMapping } = options;
  using namespace =
    idMapping && (await openUserNamespace(place.children, idMapping.uids, idMapping.gids));
  if (component.type === "overlay") {
    if (namespace === undefined) mountOverlay(component, options, place);
    else mountMappedOverlay(component, options, place, namespace);
  } else if (namespace === undefined) mountPlain(component, options, place);
  else mountMapped(component, options, place, namespace);
  for (const flags of options.propagation) mount({ target: place.target, flags });
  const readOnlyBind = MS_BIND | MS_RDONLY;
  if ((options.flags & readOnlyBind) === readOnlyBind) {
    // The first call of a bind ignores all other flags.
    const flags = options.flags | lockedFlags(place.target) | MS_REMOUNT;
    mount({ target: place.target, flags });
  }
}

function mountPlain(component: RootfsMount, options: MountOptions, place: ComponentPlace): void {
  const { type, source } = component;
  const data = options.data.join(",");
  requireFitting(data, "give fewer or shorter options");
  const { flags, loop } = options;
  if (loop === undefined) {
    mountRecorded(place, { source, type, flags, data });
    return;
  }
  const readOnly = (flags & MS_RDONLY) !== 0;
  using device = openLoopDevice({ backingFile: source, readOnly, directIo: loop.directIo });
  mountRecorded(place, { source: device.path, type, flags, data });
}

/** Mounts, and replaces the mount by a copy with mapped ids. */
function mountMapped(
  component: RootfsMount,
  options: MountOptions,
  place: ComponentPlace,
  namespace: OwnedFd,
): void {
  using staged = new DisposableStack();
  mountPlain(component, options, { ...place, undo: staged });
  using tree = cloneMount(place.target, { recursive: true });
  const set = MOUNT_ATTR_IDMAP;
  changeMount(tree.fd, { set, propagation: MS_PRIVATE, userNamespace: namespace.fd });
  staged.dispose();
  attachMount(tree.fd, place.target);
  recordMount(place);
}

/** In a user namespace: flags that a remount must repeat, or the kernel refuses it (mount_namespaces(7)). */
function lockedFlags(target: string): number {
  if (!isInUserNamespace()) return 0;
  let flags = 0;
  for (const option of topMountAt(target)?.options ?? []) flags |= LOCKABLE.get(option) ?? 0;
  return flags;
}
