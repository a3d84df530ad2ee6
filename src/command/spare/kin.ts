/**
 * What a process has in common with those that could have been launched in its place (src/native/kin.h), as
 * it is handed on from program to program of one process: a shim that has slept may be a spare too, one that
 * was upgraded may not, as its program is another than it was launched as.
 */

import { OWN_PROGRAM, openProgram, programIdentity } from "../../linux/program.ts";

/** Its variable in the environment of a daemon; removed for everybody else (`REMOVED_PREFIXES`). */
export const KIN_VARIABLE = "WEDGE_LAUNCHER_KIN";

/** A kin, and the one variable of its environment that a shim may change for itself. */
export interface Kin {
  readonly name: string;
  /** TTRPC_ADDRESS; "" where there was none. */
  readonly ttrpcAddress: string;
}

/** For {@link readKin}, in this program or in the same one executed again; undefined for a kin without a name. */
export function writeKin({ name, ttrpcAddress }: Kin): string | undefined {
  return name === "" ? undefined : `${name} ${identityOfProgram()} ${ttrpcAddress}`;
}

/** Undefined where it is not known, or the program is another by now. */
export function readKin(text = ""): Kin | undefined {
  const [name = "", identity = "", ...words] = text.split(" ");
  return identity === identityOfProgram() ? { name, ttrpcAddress: words.join(" ") } : undefined;
}

function identityOfProgram(): string {
  using program = openProgram(OWN_PROGRAM);
  const { device, inode, modifiedNs } = programIdentity(program.fd);
  return `${device}:${inode}:${modifiedNs}`;
}
