/**
 * Joins code of our own to a compiled executable, as what runs first of it (elf(5)).
 *
 * The code becomes one more segment, behind all others in the file and in memory; the program header that
 * it takes is that of a note, which only debuggers look for. Nothing else of the executable is changed.
 */

const HEADER = { entry: 24, programHeaders: 32, headerBytes: 54, headerCount: 56 } as const;
const SEGMENT = { type: 0, flags: 4, offset: 8, address: 16, physical: 24, fileBytes: 32 } as const;
const SEGMENT_MORE = { memoryBytes: 40, alignment: 48 } as const;
const ELF_MAGIC = 0x464c457f;
const CLASS_64_LITTLE_ENDIAN = 0x0102;
const FIXED_ADDRESS_TYPE = 2;
const TYPE_OFFSET = 16;
const PT_LOAD = 1;
const PT_NOTE = 4;
const READ_AND_EXECUTE = 5;
/** The largest page of any processor that we build for. */
const ALIGNMENT = 0x10000;

/** Where the first instruction of an executable is, and where there is room for more code. */
export interface Layout {
  readonly entry: bigint;
  readonly freeAddress: bigint;
}

/** Throws Error for a file that is no executable with fixed addresses. */
export function readLayout(executable: Uint8Array): Layout {
  const view = viewOf(executable);
  let end = 0n;
  for (const at of segments(view)) {
    if (view.getUint32(at + SEGMENT.type, true) !== PT_LOAD) continue;
    const address = view.getBigUint64(at + SEGMENT.address, true);
    const after = address + view.getBigUint64(at + SEGMENT_MORE.memoryBytes, true);
    if (after > end) end = after;
  }
  return { entry: view.getBigUint64(HEADER.entry, true), freeAddress: alignUp(end) };
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
  const offset = Number(alignUp(BigInt(executable.length)));
  const joined = new Uint8Array(offset + code.length);
  joined.set(executable);
  joined.set(code, offset);
  const view = viewOf(joined);
  const note = segments(view).find((at) => view.getUint32(at, true) === PT_NOTE);
  if (note === undefined) throw new Error("The executable has no note to give its place for code");
  view.setUint32(note + SEGMENT.type, PT_LOAD, true);
  view.setUint32(note + SEGMENT.flags, READ_AND_EXECUTE, true);
  view.setBigUint64(note + SEGMENT.offset, BigInt(offset), true);
  view.setBigUint64(note + SEGMENT.address, address, true);
  view.setBigUint64(note + SEGMENT.physical, address, true);
  view.setBigUint64(note + SEGMENT.fileBytes, BigInt(code.length), true);
  view.setBigUint64(note + SEGMENT_MORE.memoryBytes, BigInt(code.length), true);
  view.setBigUint64(note + SEGMENT_MORE.alignment, BigInt(ALIGNMENT), true);
  view.setBigUint64(HEADER.entry, entry, true);
  return joined;
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
  const bytes = view.getUint16(HEADER.headerBytes, true);
  const count = view.getUint16(HEADER.headerCount, true);
  return Array.from({ length: count }, (_, index) => start + index * bytes);
}

function alignUp(value: bigint): bigint {
  const step = BigInt(ALIGNMENT);
  return ((value + step - 1n) / step) * step;
}
