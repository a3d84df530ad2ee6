/** The debugging command, `shim`: what it is asked, which verb answers, and how it fails. */

export async function shim(
  _args: readonly string[],
  _variables: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  throw new Error("not yet");
}
