/**
 * Runtime options as they come over the wire, in all their forms, as one domain value.
 *
 * containerd's CRI plugin chooses the message by the exact name of the runtime: the stock name gets
 * `containerd.runc.v1.Options`, any other `runtimeoptions.v1.Options` with the TOML that the user wrote
 * into containerd's configuration. containerd 1.7's Go client sends `containerd.linux.runc.CreateOptions`
 * to runtimes of other names. `start` imports this file too, so it stays small.
 */

import { readFileSync, statSync } from "node:fs";
import { messageOf, ShimError } from "../base/error.ts";
import { defaultOptions, type RuncOptions } from "../container/options.ts";
import {
  CreateOptions,
  RuncOptions as LinuxRuncOptions,
} from "../gen/containerd/runtime/linux/runctypes/runc.ts";
import { Options } from "../gen/containerd/types/runc/options/oci.ts";
import { Options as GenericOptions } from "../gen/containerd/types/runtimeoptions/v1/api.ts";
import type { Any } from "../gen/google/protobuf/any.ts";
import { typeNameOf } from "../rpc/type-name.ts";

const CONFIG_BYTES_MAX = 1024 * 1024;

const DECODERS: ReadonlyMap<string, (value: Uint8Array) => RuncOptions> = new Map([
  ["containerd.runc.v1.Options", (value) => fromOptions(Options.decode(value))],
  ["runtimeoptions.v1.Options", (value) => fromGenericOptions(GenericOptions.decode(value))],
  [
    "containerd.linux.runc.CreateOptions",
    (value) => fromCreateOptions(CreateOptions.decode(value)),
  ],
  [
    "containerd.linux.runc.RuncOptions",
    (value) => fromLinuxOptions(LinuxRuncOptions.decode(value)),
  ],
]);

/** Whether {@link decodeRuncOptions} knows the type of `any`. */
export function isRuncOptions(any: Any): boolean {
  return DECODERS.has(typeNameOf(any.typeUrl));
}

/**
 * The options in `any`; absent or empty options are the defaults.
 * Throws ShimError `invalidArgument` naming the type, the file or the key that cannot be used.
 */
export function decodeRuncOptions(any: Any | undefined): RuncOptions {
  if (any === undefined || (any.typeUrl === "" && any.value.length === 0)) return defaultOptions;
  const name = typeNameOf(any.typeUrl);
  const decode = DECODERS.get(name);
  if (decode === undefined) {
    const known = [...DECODERS.keys()].join(", ");
    const message = `Cannot use runtime options of type ${name}: use one of ${known}`;
    throw new ShimError("invalidArgument", message);
  }
  try {
    return decode(any.value);
  } catch (cause) {
    if (cause instanceof ShimError) throw cause;
    const message = `Cannot decode runtime options of type ${name}: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
}

function fromOptions(message: Options): RuncOptions {
  const { taskApiAddress: _address, taskApiVersion: _version, ...options } = message;
  return options;
}

function fromCreateOptions(message: CreateOptions): RuncOptions {
  return {
    ...defaultOptions,
    noPivotRoot: message.noPivotRoot,
    noNewKeyring: message.noNewKeyring,
    shimCgroup: message.shimCgroup,
    ioUid: message.ioUid,
    ioGid: message.ioGid,
    criuImagePath: message.criuImagePath,
    criuWorkPath: message.criuWorkPath,
  };
}

function fromLinuxOptions(message: LinuxRuncOptions): RuncOptions {
  return {
    ...defaultOptions,
    binaryName: message.runtime,
    root: message.runtimeRoot,
    systemdCgroup: message.systemdCgroup,
  };
}

/** The body wins over the path, because containerd fills it only where no path was configured. */
function fromGenericOptions({ configBody, configPath }: GenericOptions): RuncOptions {
  if (configBody.length > 0)
    return parseToml(Buffer.from(configBody).toString(), "runtime options");
  if (configPath === "") return defaultOptions;
  return parseToml(readConfig(configPath), configPath);
}

function readConfig(path: string): string {
  try {
    const stat = statSync(path);
    // A device or a FIFO would be read without end.
    if (!stat.isFile()) throw new Error("it is not a regular file");
    if (stat.size > CONFIG_BYTES_MAX) {
      throw new Error(`it has ${stat.size} bytes where ${CONFIG_BYTES_MAX} are the limit`);
    }
    return readFileSync(path, "utf8");
  } catch (cause) {
    const message = `Cannot read runtime options from ${path}: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
}

/** Keys are the names of the Go struct, in any case, as containerd matches them; others are ignored. */
function parseToml(text: string, source: string): RuncOptions {
  let document: object;
  try {
    document = Bun.TOML.parse(text);
  } catch (cause) {
    const message = `Cannot parse ${source} as TOML: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
  const values = new Map<string, unknown>(
    Object.entries(document).map(([key, value]) => [bareKey(key), value]),
  );
  const refuse = (key: string, wanted: string) =>
    new ShimError(
      "invalidArgument",
      `Cannot use ${key} of ${source}: ${JSON.stringify(values.get(bareKey(key)))} is not ${wanted}`,
    );
  const flag = (key: string): boolean => {
    const value = values.get(bareKey(key)) ?? false;
    if (typeof value !== "boolean") throw refuse(key, "true or false");
    return value;
  };
  const string = (key: string): string => {
    const value = values.get(bareKey(key)) ?? "";
    if (typeof value !== "string") throw refuse(key, "a string");
    return value;
  };
  const identity = (key: string): number => {
    const value = values.get(bareKey(key)) ?? 0;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 0xffffffff) {
      throw refuse(key, "a user or group id");
    }
    return value;
  };
  return {
    noPivotRoot: flag("NoPivotRoot"),
    noNewKeyring: flag("NoNewKeyring"),
    shimCgroup: string("ShimCgroup"),
    ioUid: identity("IoUid"),
    ioGid: identity("IoGid"),
    binaryName: string("BinaryName"),
    root: string("Root"),
    systemdCgroup: flag("SystemdCgroup"),
    criuImagePath: string("CriuImagePath"),
    criuWorkPath: string("CriuWorkPath"),
  };
}

function bareKey(key: string): string {
  return key.toLowerCase().replaceAll("_", "");
}
