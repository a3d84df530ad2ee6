/** Loop devices: a file as a block device (loop(4)). */

import { ptr } from "bun:ffi";
import { check, hasCode, SystemError } from "./errno.ts";
import { O_RDONLY, O_RDWR, type OwnedFd, openFd } from "./fd.ts";
import { fileTable } from "./libc.ts";

const LOOP_SET_FD = 0x4c00;
const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_STATUS64 = 0x4c04;
const LOOP_SET_DIRECT_IO = 0x4c08;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;

/** struct loop_config: fd, block size, struct loop_info64, reserved. */
const CONFIG_BYTES = 304;
const CONFIG_INFO_OFFSET = 8;
/** struct loop_info64. */
const INFO_BYTES = 232;
const INFO_FLAGS_OFFSET = 52;
const INFO_FILE_NAME_OFFSET = 56;
const FILE_NAME_BYTES = 64;
/** Others look for free devices too: the kernel names the same one to all of them. */
const TRIES = 100;

export interface LoopOptions {
  readonly backingFile: string;
  readonly readOnly: boolean;
  readonly directIo: boolean;
}

/** A loop device in use. */
export interface LoopDevice extends Disposable {
  /** `/dev/loop7`. */
  readonly path: string;
}

/**
 * Attaches a file to a free loop device, with autoclear: the kernel detaches it when the last user
 * is gone. Dispose it after the device is mounted: the mount is then the last user.
 * Throws SystemError: ENOENT (the file, or no loop driver), EBUSY when all attempts lost the race.
 */
export function openLoopDevice(options: LoopOptions): LoopDevice {
  const access = options.readOnly ? O_RDONLY : O_RDWR;
  using backing = openFd(options.backingFile, access);
  using driver = openFd("/dev/loop-control", O_RDWR);
  for (let attempt = 1; ; attempt++) {
    const free = check(
      "ioctl(LOOP_CTL_GET_FREE)",
      fileTable().ioctl(driver.fd, BigInt(LOOP_CTL_GET_FREE), null),
    );
    const path = `/dev/loop${free}`;
    using stack = new DisposableStack();
    const device = stack.use(openFd(path, access));
    try {
      attach(device, backing.fd, path, options);
    } catch (thrown) {
      if (hasCode(thrown, "EBUSY") && attempt < TRIES) continue;
      throw thrown;
    }
    const owned = stack.move();
    return { path, [Symbol.dispose]: () => owned.dispose() };
  }
}

function attach(device: OwnedFd, backing: number, path: string, options: LoopOptions): void {
  const config = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(config.buffer);
  view.setUint32(0, backing, true);
  const flags =
    LO_FLAGS_AUTOCLEAR |
    (options.readOnly ? LO_FLAGS_READ_ONLY : 0) |
    (options.directIo ? LO_FLAGS_DIRECT_IO : 0);
  view.setUint32(CONFIG_INFO_OFFSET + INFO_FLAGS_OFFSET, flags, true);
  const name = Buffer.from(options.backingFile).subarray(0, FILE_NAME_BYTES - 1);
  config.set(name, CONFIG_INFO_OFFSET + INFO_FILE_NAME_OFFSET);
  try {
    setUp(device.fd, "LOOP_CONFIGURE", LOOP_CONFIGURE, ptr(config));
  } catch (thrown) {
    // One step from Linux 5.8 on; three before that.
    if (!hasCode(thrown, "EINVAL", "ENOTTY")) throw named(thrown, path);
    const info = config.subarray(CONFIG_INFO_OFFSET, CONFIG_INFO_OFFSET + INFO_BYTES);
    attachInSteps(device.fd, backing, info, { path, directIo: options.directIo });
  }
}

function attachInSteps(
  device: number,
  backing: number,
  info: Uint8Array,
  options: { readonly path: string; readonly directIo: boolean },
): void {
  try {
    setUp(device, "LOOP_SET_FD", LOOP_SET_FD, backing);
  } catch (thrown) {
    throw named(thrown, options.path);
  }
  try {
    setUp(device, "LOOP_SET_STATUS64", LOOP_SET_STATUS64, ptr(info));
    if (options.directIo) setUp(device, "LOOP_SET_DIRECT_IO", LOOP_SET_DIRECT_IO, 1);
  } catch (thrown) {
    fileTable().ioctl(device, BigInt(LOOP_CLR_FD), null);
    throw named(thrown, options.path);
  }
}

/** An ioctl whose argument is a number or an address. */
function setUp(fd: number, name: string, request: number, argument: number): void {
  check(`ioctl(${name})`, fileTable().ioctl(fd, BigInt(request), argument as never));
}

function named(thrown: unknown, path: string): unknown {
  return thrown instanceof SystemError ? new SystemError(thrown.call, thrown.errno, path) : thrown;
}
