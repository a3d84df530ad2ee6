/** Name, version and revision of this build. `scripts/build.ts` writes them in with `--define`. */

declare const WEDGE_VERSION: string | undefined;
declare const WEDGE_REVISION: string | undefined;
declare const WEDGE_SLEEPER: string | undefined;
declare const WEDGE_GUARDIAN: string | undefined;
declare const WEDGE_SUCCESSOR: string | undefined;
declare const WEDGE_REJOIN: string | undefined;

/** The executable, as containerd looks for it. */
export const executableName = "containerd-shim-wedge-v2";

/** The name under which the executable is the debugging command. */
export const debugCommandName = "shim";

/** The runtime type that containerd derives {@link executableName} from. */
export const runtimeName = "io.containerd.wedge.v2";

/** From package.json; run from source, that of the next release. */
export const version = typeof WEDGE_VERSION === "string" ? WEDGE_VERSION : "0.1.0-source";

/** The commit that was built. */
export const revision = typeof WEDGE_REVISION === "string" ? WEDGE_REVISION : "unknown";

/** The program of a sleeping shim (`src/native/sleeper.c`), in base64; "" where there was no C compiler for it. */
export const sleeperImage = typeof WEDGE_SLEEPER === "string" ? WEDGE_SLEEPER : "";

/** The guardian of upgrades (`src/native/guardian.c`), in base64; "" where there is none. */
export const guardianImage = typeof WEDGE_GUARDIAN === "string" ? WEDGE_GUARDIAN : "";

/** Code that leaves a process to another (`src/native/successor.c`), in base64; "" where there is none. */
export const successorImage = typeof WEDGE_SUCCESSOR === "string" ? WEDGE_SUCCESSOR : "";

/** Code that moves a process to where it is (`src/native/rejoin.c`), in base64; "" where there is none. */
export const rejoinImage = typeof WEDGE_REJOIN === "string" ? WEDGE_REJOIN : "";
