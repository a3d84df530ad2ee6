/**
 * The beginning of a daemon: gives containerd the address of a shim for one task, and goes on as that shim
 * if there is none yet.
 *
 * The launcher waits, while this process holds containerd's own streams, until the answer is out;
 * containerd may connect at once, and its calls wait in the backlog until the rest of the shim is there.
 * Nothing is printed but the answer, as containerd reads stdout and stderr as one stream. A failure leaves
 * nothing behind. All of it is synchronous: there is nothing else to do meanwhile.
 */

import { lstatSync, rmSync } from "node:fs";
import { join } from "node:path";
import { removeAddress, writeAddress } from "../../bundle/address-file.ts";
import { GROUP_ANNOTATIONS, loadSpec } from "../../bundle/spec.ts";
import { joinCgroup } from "../../linux/cgroup-join.ts";
import { hasCode } from "../../linux/errno.ts";
import { O_NONBLOCK, O_RDWR, type OwnedFd, openFd, replaceFd, writeWhole } from "../../linux/fd.ts";
import { claimListener } from "../../linux/listener.ts";
import { followOomScore, readOomScore } from "../../linux/oom-score.ts";
import { isolateCoreScheduling, ownPid } from "../../linux/self.ts";
import { parseDeadlines } from "../../runtime/deadlines.ts";
import { LAUNCHER_VARIABLE, type Launcher } from "../invocation/environment.ts";
import { checkIdentity } from "../invocation/identity.ts";
import type { Invocation } from "../invocation/invocation.ts";
import { readInput, writeOutput } from "../invocation/stream.ts";
import { KIN_VARIABLE, writeKin } from "../spare/kin.ts";
import { chooseDialect, encodeAnswer, parseProtocol } from "./answer.ts";
import { isContainerd2 } from "./containerd-build.ts";
import { chooseSocketDirectory, socketDirectories } from "./socket-directory.ts";
import { decodeStartRequest, type StartRequest } from "./start-request.ts";

const LOG_FIFO = "log";
const LOG_FD = 2;

/** What a daemon goes on with. */
export interface StartedDaemon {
  /** With what containerd said on stdin, and what children are to have. */
  readonly invocation: Invocation;
  /** The socket that it listens on; owned by the caller. */
  readonly listener: number;
}

/**
 * Runs in the bundle. Undefined when another shim has the task, and all is done. Throws ShimError,
 * SystemError or what node:fs throws.
 */
export function becomeDaemon(
  invocation: Invocation,
  launcher: Launcher,
): StartedDaemon | undefined {
  const { channel, managerPid, isParent } = launcher;
  checkIdentity(invocation);
  // The daemon would have nobody to report it to.
  parseDeadlines(invocation.environment.deadlines);
  const protocol = parseProtocol(invocation.environment.protocol);
  const bundle = process.cwd();
  const request = decodeStartRequest(readInput(0), invocation);
  const { id } = request;
  const path = join(socketDirectory(request, invocation), socketName(request, groupOf(bundle, id)));
  using undo = new DisposableStack();
  const listener = claimListener(path);
  if (listener !== "taken") {
    undo.use(listener);
    undo.defer(() => rmSync(path, { force: true }));
  }
  undo.defer(() => removeAddress(bundle));
  writeAddress(bundle, path);
  const started =
    listener === "taken"
      ? undefined
      : applyProcessSettings(invocation, request, launcher, listener);
  const dialect = chooseDialect({
    isBootstrap: request.isBootstrap,
    namespace: request.namespace,
    environment: invocation.environment,
    isContainerd2: () => isContainerd2(`/proc/${managerPid}/exe`),
  });
  writeOutput(1, encodeAnswer(dialect, path, protocol));
  if (started !== undefined) detach(bundle);
  // If this process exits too, the launcher waits for that: not every pid 1 reaps orphans.
  if (started !== undefined || !isParent) releaseLauncher(channel, 0);
  undo.move();
  return started;
}

/** Makes this process what a shim is to the rest of the system. */
function applyProcessSettings(
  invocation: Invocation,
  { options, grpcAddress, ttrpcAddress, isDebug }: StartRequest,
  { managerPid, kin }: Launcher,
  listener: OwnedFd,
): StartedDaemon {
  const { environment } = invocation;
  // Neither can be undone.
  const isAsLaunched = !environment.isCoreScheduled && options.shimCgroup === "";
  if (environment.isCoreScheduled) isolateCoreScheduling();
  const oomScore = readOomScore("self");
  followOomScore(ownPid(), managerPid);
  if (options.shimCgroup !== "") joinCgroup(options.shimCgroup, ownPid());
  const variables = {
    ...environment.variables,
    TTRPC_ADDRESS: ttrpcAddress || undefined,
    // Later lives of this process have nobody to answer to.
    [LAUNCHER_VARIABLE]: undefined,
    [KIN_VARIABLE]: isAsLaunched
      ? writeKin({ name: kin, ttrpcAddress: environment.ttrpcAddress })
      : undefined,
  };
  return {
    invocation: {
      ...invocation,
      isDebug,
      address: grpcAddress,
      environment: {
        ...environment,
        launcher: undefined,
        ttrpcAddress,
        variables,
        inheritance: { ...environment.inheritance, oomScore },
      },
    },
    listener: listener.fd,
  };
}

/**
 * Lets go of containerd's streams, whose end of file it waits for. stderr becomes the bundle's `log` FIFO, so
 * that even a crash of the engine is logged.
 */
function detach(bundle: string): void {
  using none = openFd("/dev/null", O_RDWR);
  using log = openLogFifo(bundle);
  replaceFd(none.fd, 0);
  replaceFd(none.fd, 1);
  replaceFd(log?.fd ?? none.fd, LOG_FD);
}

/**
 * Lets the launcher exit with `status`. One that is gone was killed, and nobody has got the answer:
 * throws SystemError, EPIPE.
 */
export function releaseLauncher(channel: number, status: number): void {
  writeWhole(channel, Uint8Array.of(status));
}

/**
 * The FIFO from which containerd reads a shim's log; undefined where there is none, as a log is optional.
 * Opened for reading and writing, it can neither hang, nor break when containerd restarts, nor block when full.
 */
function openLogFifo(bundle: string): OwnedFd | undefined {
  const path = join(bundle, LOG_FIFO);
  try {
    if (!lstatSync(path).isFIFO()) return undefined;
    return openFd(path, O_RDWR | O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, "ENOENT", "EACCES", "EPERM")) return undefined;
    throw error;
  }
}

function groupOf(bundle: string, id: string): string {
  const { annotations } = loadSpec(bundle);
  for (const name of GROUP_ANNOTATIONS) {
    const group = annotations.get(name);
    if (group) return group;
  }
  return id;
}

function socketDirectory({ socketDirectory: named }: StartRequest, { environment }: Invocation) {
  if (named !== "") return named;
  const uid = process.geteuid?.() ?? 0;
  return chooseSocketDirectory(socketDirectories(uid, environment.variables), uid);
}

/** The name that every shim gives a group's socket: a digest, of the same length for any id. */
function socketName({ grpcAddress, namespace }: StartRequest, group: string): string {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(join(grpcAddress, namespace, group));
  return hash.digest("hex");
}
