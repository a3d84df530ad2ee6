/** Overlay components: data of any length, and layers with mapped ids. */

import { posix } from "node:path";
import { ShimError } from "../base/error.ts";
import {
  attachMount,
  changeMount,
  cloneMount,
  FilesystemContext,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
} from "../linux/detached-mount.ts";
import { hasCode, SystemError } from "../linux/errno.ts";
import { OwnedFd } from "../linux/fd.ts";
import {
  inDirectory,
  MNT_DETACH,
  MS_DIRSYNC,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  UMOUNT_NOFOLLOW,
  unmount,
} from "../linux/mount.ts";
import type { MountOptions, RootfsMount } from "./mount-option.ts";
import {
  type ComponentPlace,
  isFitting,
  mountRecorded,
  recordMount,
  requireFitting,
} from "./mount-place.ts";
import {
  commonDirectory,
  compactLayers,
  joinLayers,
  type OverlayLayers,
  splitLayers,
} from "./overlay-option.ts";

/** The limit of the kernel's overlayfs. */
const LAYERS_MAX = 500;
const TOO_LONG_ADVICE =
  "Linux 6.7 and newer take more; older kernels need fewer layers or a shorter containerd root path";
const ATTRIBUTES: ReadonlyMap<number, number> = new Map([
  [MS_RDONLY, MOUNT_ATTR_RDONLY],
  [MS_NOSUID, MOUNT_ATTR_NOSUID],
  [MS_NODEV, MOUNT_ATTR_NODEV],
  [MS_NOEXEC, MOUNT_ATTR_NOEXEC],
  [MS_NOATIME, MOUNT_ATTR_NOATIME],
  [MS_NODIRATIME, MOUNT_ATTR_NODIRATIME],
  [MS_STRICTATIME, MOUNT_ATTR_STRICTATIME],
]);
/** Flags that belong to the file system, by their names in fsconfig(2). */
const FILESYSTEM_FLAGS: ReadonlyMap<number, string> = new Map([
  [MS_RDONLY, "ro"],
  [MS_SYNCHRONOUS, "sync"],
  [MS_DIRSYNC, "dirsync"],
]);

/**
 * Mounts an overlay whose data may be longer than mount(2) reads: then layer by layer where the
 * kernel supports that (Linux 6.7), else with paths relative to the directory that the layers share.
 * Throws SystemError, and ShimError `invalidArgument` where neither suffices.
 */
export function mountOverlay(
  component: RootfsMount,
  options: MountOptions,
  place: ComponentPlace,
): void {
  const { type, source } = component;
  const { flags } = options;
  const data = options.data.join(",");
  const layers = splitLayers(options.data);
  requireFew(layers);
  if (isFitting(data) || layers === undefined) {
    requireFitting(data, TOO_LONG_ADVICE);
    mountRecorded(place, { source, type, flags, data });
    return;
  }
  const detached = createLayered(component, flags, layers);
  if (detached instanceof OwnedFd) {
    using overlay = detached;
    attachMount(overlay.fd, place.target);
    recordMount(place);
    return;
  }
  const compact = compactLayers(layers);
  const shorter = compact?.data.join(",") ?? data;
  requireFitting(shorter, `${TOO_LONG_ADVICE} (${detached.message})`);
  inDirectory(compact?.directory ?? "/", () =>
    mountRecorded(place, { source, type, flags, data: shorter }),
  );
}

function requireFew(layers: OverlayLayers | undefined): void {
  const count = (layers?.lower.length ?? 0) + (layers?.dataOnly.length ?? 0);
  if (count <= LAYERS_MAX) return;
  throw new ShimError(
    "invalidArgument",
    `the image has ${count} layers and the kernel takes ${LAYERS_MAX}: build it with fewer`,
  );
}

/** An overlay made layer by layer, or the refusal where this kernel cannot take the layers that way. */
function createLayered(
  component: RootfsMount,
  flags: number,
  layers: OverlayLayers,
): OwnedFd | SystemError {
  using stack = new DisposableStack();
  let context: FilesystemContext;
  try {
    context = stack.use(new FilesystemContext(component.type));
    for (const path of layers.lower) context.setPath("lowerdir+", path);
    for (const path of layers.dataOnly) context.setPath("datadir+", path);
  } catch (thrown) {
    // ENOSYS, EPERM: no such call, or blocked by a filter. EINVAL: no such parameter, or over its limit.
    if (thrown instanceof SystemError && hasCode(thrown, "ENOSYS", "EPERM", "EINVAL")) {
      return thrown;
    }
    throw thrown;
  }
  context.setString("source", component.source);
  for (const option of layers.rest) setOption(context, option);
  for (const [flag, name] of FILESYSTEM_FLAGS) {
    if ((flags & flag) !== 0) context.setFlag(name);
  }
  let attributes = 0;
  for (const [flag, attribute] of ATTRIBUTES) {
    if ((flags & flag) !== 0) attributes |= attribute;
  }
  return context.create(attributes);
}

function setOption(context: FilesystemContext, option: string): void {
  const equals = option.indexOf("=");
  if (equals < 0) {
    context.setFlag(option);
    return;
  }
  const key = option.slice(0, equals);
  const value = option.slice(equals + 1);
  if (key === "upperdir" || key === "workdir") context.setPath(key, value);
  else context.setString(key, value);
}

/**
 * Mounts an overlay with its lower layers mapped: the kernel maps mounts, so a read-only, mapped copy
 * of the directory above all layers stands at the target while the overlay is made, and is then removed.
 * That way no directory is made that somebody would have to remove.
 */
export function mountMappedOverlay(
  component: RootfsMount,
  options: MountOptions,
  place: ComponentPlace,
  namespace: OwnedFd,
): void {
  const layers = splitLayers(options.data);
  const directory = layers && commonDirectory([...layers.lower, ...layers.dataOnly]);
  if (layers === undefined || directory === undefined) {
    throw new ShimError(
      "invalidArgument",
      "Mount options uidmap and gidmap need lower directories that share a parent other than /",
    );
  }
  const { target } = place;
  const moved = (path: string) => posix.join(target, posix.relative(directory, path));
  const data = [...layers.rest, joinLayers(layers.lower.map(moved), layers.dataOnly.map(moved))];
  using staged = new DisposableStack();
  {
    using tree = cloneMount(directory, { recursive: true });
    const set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY;
    changeMount(tree.fd, { set, propagation: MS_PRIVATE, userNamespace: namespace.fd });
    attachMount(tree.fd, target);
  }
  staged.defer(() => unmount(target, MNT_DETACH | UMOUNT_NOFOLLOW));
  mountOverlay(component, { ...options, data }, { ...place, undo: staged });
  using overlay = cloneMount(target, { recursive: false });
  staged.dispose();
  attachMount(overlay.fd, target);
  recordMount(place);
}
