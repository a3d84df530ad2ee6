/**
 * Plain data with a checked form: what is written as JSON is read back as the type that its shape
 * describes, or refused with the path of the value that does not fit.
 */

import { reasons, ShimError } from "./error.ts";

/** Knows one form of plain data. */
export interface Shape<T> {
  /** The value, when it has this form. Throws ShimError `invalidArgument` naming `path`. */
  parse(value: unknown, path: string): T;
}

/** The type of the values of a shape. */
export type Shaped<S> = S extends Shape<infer T> ? T : never;

type Fields = Readonly<Record<string, Shape<unknown>>>;
type Record_<F extends Fields> = { readonly [K in keyof F]: Shaped<F[K]> };

export const plain: Shape<string> = {
  parse: (value, path) => (typeof value === "string" ? value : refuse(path, "text")),
};

export const real: Shape<number> = {
  parse: (value, path) =>
    typeof value === "number" && Number.isFinite(value) ? value : refuse(path, "a number"),
};

/** A whole number from 0 on: a descriptor, a pid, a count. */
export const whole: Shape<number> = {
  parse: (value, path) =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= 0
      ? value
      : refuse(path, "a whole number from 0 on"),
};

export const flag: Shape<boolean> = {
  parse: (value, path) => (typeof value === "boolean" ? value : refuse(path, "true or false")),
};

/** Bytes as base64, which is what they are in the data; {@link fromBase64} turns them back. */
export const base64: Shape<string> = {
  parse: (value, path) =>
    typeof value === "string" && /^[A-Za-z0-9+/]*={0,2}$/.test(value)
      ? value
      : refuse(path, "base64"),
};

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** A copy of the bytes, never a view into a shared buffer. */
export function fromBase64(encoded: string): Uint8Array {
  return new Uint8Array(Buffer.from(encoded, "base64"));
}

/** One of these words, or numbers. */
export function word<const W extends string | number>(...words: readonly W[]): Shape<W> {
  return {
    parse: (value, path) =>
      words.find((known) => known === value) ?? refuse(path, `one of ${words.join(", ")}`),
  };
}

export const reasonShape = word(...reasons);

/** What may be missing. */
export function maybe<T>(shape: Shape<T>): Shape<T | undefined> {
  return {
    parse: (value, path) =>
      value === undefined || value === null ? undefined : shape.parse(value, path),
  };
}

export function list<T>(shape: Shape<T>): Shape<readonly T[]> {
  return {
    parse: (value, path) =>
      Array.isArray(value)
        ? value.map((item: unknown, at) => shape.parse(item, `${path}[${at}]`))
        : refuse(path, "a list"),
  };
}

/** An object with keys of any name. */
export function table<T>(shape: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return {
    parse: (value, path) =>
      Object.fromEntries(
        entriesOf(value, path).map(([key, item]) => [key, shape.parse(item, `${path}.${key}`)]),
      ),
  };
}

/** An object with these fields; others are ignored, so that an older wedge may read a newer one's. */
export function record<F extends Fields>(fields: F): Shape<Record_<F>>;
export function record(fields: Fields): Shape<object> {
  return {
    parse: (value, path) => {
      const given = new Map(entriesOf(value, path));
      return Object.fromEntries(
        Object.entries(fields).map(([key, shape]) => [
          key,
          shape.parse(given.get(key), `${path}.${key}`),
        ]),
      );
    },
  };
}

type Kinds = Readonly<Record<string, Fields>>;
type Tagged<K extends Kinds> = {
  [N in keyof K & string]: { readonly kind: N } & Record_<K[N]>;
}[keyof K & string];

/** An object whose field `kind` determines its other fields. */
export function tagged<K extends Kinds>(kinds: K): Shape<Tagged<K>>;
export function tagged(kinds: Kinds): Shape<object> {
  return {
    parse: (value, path) => {
      const kind = new Map(entriesOf(value, path)).get("kind");
      const fields =
        typeof kind === "string" && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
      if (fields === undefined) return refuse(`${path}.kind`, `one of ${Object.keys(kinds)}`);
      return { kind, ...record(fields).parse(value, path) };
    },
  };
}

function entriesOf(value: unknown, path: string): [string, unknown][] {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return Object.entries(value);
  return refuse(path, "an object");
}

function refuse(path: string, wanted: string): never {
  throw new ShimError("invalidArgument", `Cannot read ${path}: it is not ${wanted}`);
}
