/**
 * `start`: gives containerd the address of a shim for one task, and makes that shim if there is none.
 *
 * The listening socket exists before the daemon does and is inherited by it, so containerd may connect
 * at once: its call waits in the backlog. Nothing is printed but the answer, as containerd takes stdout
 * and stderr for one stream. Whatever fails leaves nothing behind. All of it is synchronous: there is
 * nothing else to do meanwhile.
 */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { loadSpec } from "../container/spec.ts";
import { joinCgroup } from "../linux/cgroup-join.ts";
import { disablesHugePages, setHugePagesDisabled } from "../linux/huge-pages.ts";
import { claimListener } from "../linux/listener.ts";
import { followOomScore, readOomScore } from "../linux/oom-score.ts";
import { signalPid } from "../linux/pidfd.ts";
import { isolateCoreScheduling } from "../linux/self.ts";
import { parseDeadlines } from "../runtime/deadlines.ts";
import { removeAddress, writeAddress } from "./address-file.ts";
import {
  chooseDialect,
  decodeStartRequest,
  encodeAnswer,
  parseProtocol,
  type StartRequest,
} from "./bootstrap.ts";
import { isContainerd2 } from "./containerd-build.ts";
import { spawnDaemon } from "./daemon.ts";
import type { Invocation } from "./flags.ts";
import { checkIdentity } from "./identity.ts";
import { chooseSocketDirectory, socketDirectories } from "./socket-directory.ts";
import { readInput, writeOutput } from "./stream.ts";

/** Which tasks share a shim, strongest first: asked for by name, or of one pod. */
const GROUP_ANNOTATIONS = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"] as const;
const SIGKILL = 9;

/** Runs in the bundle; returns the exit code. Throws ShimError, SystemError or what node:fs throws. */
export function start(invocation: Invocation): number {
  checkIdentity(invocation);
  // The daemon would have nobody to tell.
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
  if (listener !== "taken") {
    if (invocation.environment.isCoreScheduled) isolateCoreScheduling();
    const oomScore = readOomScore("self");
    // This process's own, which the daemon inherits: what an unprivileged daemon is, it closes to us.
    followOomScore(process.pid, process.ppid);
    // Before the daemon is born: it would take its first pages as huge ones.
    const hasHugePages = !disablesHugePages() && setHugePagesDisabled(true);
    const pid = spawnDaemon({
      ...request,
      bundle,
      variables: invocation.environment.variables,
      listener: listener.fd,
      inheritance: { oomScore, hasHugePages },
    });
    undo.defer(() => signalPid(pid, SIGKILL));
    if (request.options.shimCgroup !== "") joinCgroup(request.options.shimCgroup, pid);
  }
  const dialect = chooseDialect({
    isBootstrap: request.isBootstrap,
    namespace: request.namespace,
    environment: invocation.environment,
    isContainerd2: () => isContainerd2(`/proc/${process.ppid}/exe`),
  });
  writeOutput(1, encodeAnswer(dialect, path, protocol));
  undo.move();
  return 0;
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

/** The name that every shim gives the socket of a group: a digest, of the same length for any id. */
function socketName({ grpcAddress, namespace }: StartRequest, group: string): string {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(join(grpcAddress, namespace, group));
  return hash.digest("hex");
}
