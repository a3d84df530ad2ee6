/** Block devices on cgroup v1: the CFQ scheduler's files where it counts, else the throttling layer's. */

import type { StatDirectory } from "../stat-directory.ts";
import { parseUint64 } from "../stat-file.ts";

const THROTTLE_SERVICED_FILE = "blkio.throttle.io_serviced";
const THROTTLE_BYTES_FILE = "blkio.throttle.io_service_bytes";
const PARTITIONS_FILE = "partitions";
/** /proc/partitions begins with a title and an empty line. */
const PARTITIONS_HEADER_LINES = 2;

export interface BlkioEntry {
  /** "Read", "Write", ...; empty where the file does not tell operations apart. */
  readonly op: string;
  /** "/dev/sda"; empty when the device is not in /proc/partitions. */
  readonly device: string;
  readonly major: bigint;
  readonly minor: bigint;
  readonly value: bigint;
}

export interface BlkioStat {
  readonly ioServiceBytesRecursive: BlkioEntry[];
  readonly ioServicedRecursive: BlkioEntry[];
  readonly ioQueuedRecursive: BlkioEntry[];
  readonly ioServiceTimeRecursive: BlkioEntry[];
  readonly ioWaitTimeRecursive: BlkioEntry[];
  readonly ioMergedRecursive: BlkioEntry[];
  readonly ioTimeRecursive: BlkioEntry[];
  readonly sectorsRecursive: BlkioEntry[];
}

type Devices = ReadonlyMap<string, string>;

/** Undefined without the controller. `procfs` is where it is mounted. */
export function readBlkio(directory: StatDirectory, procfs: StatDirectory): BlkioStat | undefined {
  let devices: Devices | undefined;
  const parse = (text: string | undefined): BlkioEntry[] => {
    if (text === undefined || text === "") return [];
    devices ??= parsePartitions(procfs.read(PARTITIONS_FILE) ?? "");
    return parseBlkio(text, devices);
  };
  const read = (name: string) => parse(directory.read(name));
  const serviced = directory.read("blkio.io_serviced_recursive");
  if (serviced !== undefined) {
    const stat: BlkioStat = {
      ioServiceBytesRecursive: read("blkio.io_service_bytes_recursive"),
      ioServicedRecursive: parse(serviced),
      ioQueuedRecursive: read("blkio.io_queued_recursive"),
      ioServiceTimeRecursive: read("blkio.io_service_time_recursive"),
      ioWaitTimeRecursive: read("blkio.io_wait_time_recursive"),
      ioMergedRecursive: read("blkio.io_merged_recursive"),
      ioTimeRecursive: read("blkio.time_recursive"),
      sectorsRecursive: read("blkio.sectors_recursive"),
    };
    if (Object.values(stat).some((entries) => entries.length > 0)) return stat;
  }
  const throttled = directory.read(THROTTLE_SERVICED_FILE);
  if (throttled === undefined && serviced === undefined) return undefined;
  return {
    ioServiceBytesRecursive: read(THROTTLE_BYTES_FILE),
    ioServicedRecursive: parse(throttled),
    ioQueuedRecursive: [],
    ioServiceTimeRecursive: [],
    ioWaitTimeRecursive: [],
    ioMergedRecursive: [],
    ioTimeRecursive: [],
    sectorsRecursive: [],
  };
}

/** Lines of `major:minor [op] value`; the closing `Total value` and others are skipped. */
export function parseBlkio(text: string, devices: Devices): BlkioEntry[] {
  return text.split("\n").flatMap((line) => {
    const [number, ...rest] = line.split(" ").filter((word) => word !== "");
    const [major, minor] = number?.split(":") ?? [];
    const value = rest.at(-1);
    if (major === undefined || minor === undefined || value === undefined) return [];
    return [
      {
        op: rest.length > 1 ? (rest[0] ?? "") : "",
        device: devices.get(`${major}:${minor}`) ?? "",
        major: parseUint64(major),
        minor: parseUint64(minor),
        value: parseUint64(value),
      },
    ];
  });
}

/** Device paths by "major:minor"; a device that is listed twice keeps its first name. */
export function parsePartitions(text: string): Devices {
  const devices = new Map<string, string>();
  for (const line of text.split("\n").slice(PARTITIONS_HEADER_LINES)) {
    const [major, minor, , name] = line.split(" ").filter((word) => word !== "");
    if (name === undefined || devices.has(`${major}:${minor}`)) continue;
    devices.set(`${major}:${minor}`, `/dev/${name}`);
  }
  return devices;
}
