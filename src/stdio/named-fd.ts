/** Descriptors by the names that their owners know them by. */

/** A descriptor with the name that its owner knows it by, for inspection and for a handoff. */
export interface NamedFd {
  readonly name: string;
  readonly fd: number;
}

/** The descriptors of `named` that are open. */
export function openOnes(
  named: Readonly<Record<string, { readonly isOpen: boolean; readonly fd: number } | undefined>>,
): NamedFd[] {
  return Object.entries(named).flatMap(([name, owned]) =>
    owned?.isOpen ? [{ name, fd: owned.fd }] : [],
  );
}
