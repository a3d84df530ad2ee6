/** Environment variables: by name, and as the entries that a program is executed with. */

/** As a process was given them. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** `NAME=value` for each that is set, except for names in `without`. */
export function toEntries(
  variables: Variables,
  without: ReadonlySet<string> = new Set(),
): readonly string[] {
  return Object.entries(variables).flatMap(([name, value]) =>
    value === undefined || without.has(name) ? [] : [`${name}=${value}`],
  );
}
