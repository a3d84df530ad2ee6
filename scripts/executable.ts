/**
 * Joins code of our own to a compiled executable, to run before the rest (elf(5)).
 *
 * The code becomes one more segment, after all others in the file and in memory. The kernel is shown a
 * table of program headers after the code, which has that segment and names no dynamic loader, so that the
 * code runs without one; it loads what the executable's own table names ({@link Layout}).
 */

const HEADER = { entry: 24, programHeaders: 32, headerBytes: 54, headerCount: 56 } as const;
const SEGMENT = { type: 0, flags: 4, offset: 8, address: 16, physical: 24, fileBytes: 32 } as const;
const SEGMENT_MORE = { memoryBytes: 40, alignment: 48 } as const;
const SEGMENT_BYTES = 56;
const ELF_MAGIC = 0x464c457f;
const CLASS_64_LITTLE_ENDIAN = 0x0102;
const FIXED_ADDRESS_TYPE = 2;
const TYPE_OFFSET = 16;
const PT_LOAD = 1;
/** The path of the dynamic loader. */
export const PT_INTERP = 3;
/** The table of program headers itself. */
export const PT_PHDR = 6;
const READ_AND_EXECUTE = 5;
/** The largest page of any processor that we build for. */
const ALIGNMENT = 0x10000;

/** A program header, field by field. */
export type Header = Readonly<
  Record<"type" | "flags" | "offset" | "address" | "physical" | "fileBytes", bigint> &
    Record<"memoryBytes" | "alignment", bigint>
>;

/** What code that runs before an executable has to know about it. */
export interface Layout {
  /** The address of its first instruction. */
  readonly entry: bigint;
  /** Its own table of program headers. */
  readonly headers: readonly Header[];
  /** The path of its dynamic loader. */
  readonly loaderPath: string;
  /** An address with room for more code. */
  readonly freeAddress: bigint;
}

/** Throws Error for a file that is not an executable with fixed addresses, or not a dynamic one. */
export function readLayout(executable: Uint8Array): Layout {
  const view = viewOf(executable);
  const headers = segments(view).map((at) => readHeader(view, at));
  let end = 0n;
  for (const { type, address, memoryBytes } of headers) {
    if (type === BigInt(PT_LOAD) && address + memoryBytes > end) end = address + memoryBytes;
  }
  const path = headers.find(({ type }) => type === BigInt(PT_INTERP));
  if (path === undefined) throw new Error("The executable names no dynamic loader");
  const start = Number(path.offset);
  const text = executable.subarray(start, start + Number(path.fileBytes) - 1);
  return {
    entry: view.getBigUint64(HEADER.entry, true),
    headers,
    loaderPath: Buffer.from(text).toString(),
    freeAddress: alignUp(end),
  };
}

function readHeader(view: DataView, at: number): Header {
  const long = (field: number) => view.getBigUint64(at + field, true);
  return {
    type: BigInt(view.getUint32(at + SEGMENT.type, true)),
    flags: BigInt(view.getUint32(at + SEGMENT.flags, true)),
    offset: long(SEGMENT.offset),
    address: long(SEGMENT.address),
    physical: long(SEGMENT.physical),
    fileBytes: long(SEGMENT.fileBytes),
    memoryBytes: long(SEGMENT_MORE.memoryBytes),
    alignment: long(SEGMENT_MORE.alignment),
  };
}

/** The content of the one segment of a small linked program, and its entry point. */
export function readCode(program: Uint8Array): {
  readonly code: Uint8Array;
  readonly entry: bigint;
} {
  const view = viewOf(program);
  const loaded = segments(view).filter((at) => view.getUint32(at, true) === PT_LOAD);
  const [segment] = loaded;
  if (segment === undefined || loaded.length !== 1) {
    throw new Error(`Expected one segment of code, found ${loaded.length}`);
  }
  const offset = Number(view.getBigUint64(segment + SEGMENT.offset, true));
  const length = Number(view.getBigUint64(segment + SEGMENT.fileBytes, true));
  const memory = Number(view.getBigUint64(segment + SEGMENT_MORE.memoryBytes, true));
  if (memory !== length) throw new Error("The code has data that is written to");
  return {
    code: program.subarray(offset, offset + length),
    entry: view.getBigUint64(HEADER.entry, true),
  };
}

/** `executable` with `code`, which was linked for `address`, and beginning at `entry`. */
export function joinCode(
  executable: Uint8Array,
  { code, address, entry }: { code: Uint8Array; address: bigint; entry: bigint },
): Uint8Array {
  const view = viewOf(executable);
  const kept = segments(view).filter(
    (at) => ![PT_INTERP, PT_PHDR].includes(view.getUint32(at + SEGMENT.type, true)),
  );
  const offset = alignUp(BigInt(executable.length));
  const tableAt = alignUp(BigInt(code.length), 8n);
  const tableBytes = BigInt((kept.length + 2) * SEGMENT_BYTES);
  const table = Buffer.concat([
    // Before everything that is loaded.
    header({ type: PT_PHDR, offset: offset + tableAt, address: address + tableAt }, tableBytes),
    ...kept.map((at) => executable.subarray(at, at + SEGMENT_BYTES)),
    header({ type: PT_LOAD, offset, address }, tableAt + tableBytes),
  ]);
  const joined = new Uint8Array(Number(offset + tableAt) + table.length);
  joined.set(executable);
  joined.set(code, Number(offset));
  joined.set(table, Number(offset + tableAt));
  const first = viewOf(joined);
  first.setBigUint64(HEADER.programHeaders, offset + tableAt, true);
  first.setUint16(HEADER.headerCount, kept.length + 2, true);
  first.setBigUint64(HEADER.entry, entry, true);
  return joined;
}

/** The program header of `length` bytes that are read and executed. */
function header(
  { type, offset, address }: { type: number; offset: bigint; address: bigint },
  length: bigint,
): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(SEGMENT.type, type, true);
  view.setUint32(SEGMENT.flags, READ_AND_EXECUTE, true);
  view.setBigUint64(SEGMENT.offset, offset, true);
  view.setBigUint64(SEGMENT.address, address, true);
  view.setBigUint64(SEGMENT.physical, address, true);
  view.setBigUint64(SEGMENT.fileBytes, length, true);
  view.setBigUint64(SEGMENT_MORE.memoryBytes, length, true);
  view.setBigUint64(SEGMENT_MORE.alignment, BigInt(type === PT_LOAD ? ALIGNMENT : 8), true);
  return bytes;
}

function viewOf(bytes: Uint8Array): DataView {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isElf =
    view.getUint32(0, true) === ELF_MAGIC && view.getUint16(4, true) === CLASS_64_LITTLE_ENDIAN;
  if (!isElf || view.getUint16(TYPE_OFFSET, true) !== FIXED_ADDRESS_TYPE) {
    throw new Error("Not a 64-bit executable with fixed addresses");
  }
  return view;
}

/** Where the program headers stand. */
function segments(view: DataView): readonly number[] {
  const start = Number(view.getBigUint64(HEADER.programHeaders, true));
  if (view.getUint16(HEADER.headerBytes, true) !== SEGMENT_BYTES) {
    throw new Error(`Program headers are not of ${SEGMENT_BYTES} bytes`);
  }
  const count = view.getUint16(HEADER.headerCount, true);
  return Array.from({ length: count }, (_, index) => start + index * SEGMENT_BYTES);
}

function alignUp(value: bigint, step = BigInt(ALIGNMENT)): bigint {
  return ((value + step - 1n) / step) * step;
}
