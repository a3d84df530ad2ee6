/**
 * runc, and every runtime with its command line (crun, youki, a wrapper script), behind `Runtime`.
 *
 * Each call is a process of its own with a log file of its own in the bundle: what two concurrent calls
 * report is never mixed up, and nothing stays when they are over.
 */

import { closeSync, existsSync, openSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { messageOf } from "../base/error.ts";
import type { CgroupLock } from "../linux/cgroup-lock.ts";
import type { Children } from "../linux/children.ts";
import { hasCode } from "../linux/errno.ts";
import { ownPid } from "../linux/self.ts";
import { CallHistory, type OpenCall } from "./call-history.ts";
import { criuConfigText, withCriuConfig } from "./criu-config.ts";
import { type Deadlines, defaultDeadlines } from "./deadlines.ts";
import { findExecutable, type Lookup, scrubEnvironment } from "./environment.ts";
import { type FailureKind, RuntimeError } from "./error.ts";
import { type Invocation, invoke, type Outcome } from "./invocation.ts";
import { readPidFile } from "./pid-file.ts";
import {
  checkpointArgs,
  createArgs,
  deleteArgs,
  execArgs,
  globalArgs,
  killArgs,
  pauseArgs,
  restoreArgs,
  resumeArgs,
  startArgs,
  updateArgs,
} from "./runc-args.ts";
import type {
  CallOptions,
  CheckpointRequest,
  CreateRequest,
  DeleteOptions,
  ExecRequest,
  KillOptions,
  LentStdio,
  ProcessRequest,
  RestoreRequest,
  Runtime,
  RuntimeOptions,
  Verb,
} from "./runtime.ts";
import { judge } from "./verdict.ts";

/** What ends a container: run even when all else is given up, or when its bundle has been removed. */
const ENDING_VERBS: ReadonlySet<Verb> = new Set(["delete", "kill", "resume"]);
/** What makes a process that is moved to the container's cgroup. */
const MOVING_VERBS: ReadonlySet<Verb> = new Set(["create", "restore", "exec"]);
/** Runtimes that make it where it belongs, on version 2 (clone3(2)): taking the lock would only hold them up. */
const UNMOVING_RUNTIMES: ReadonlySet<string> = new Set(["crun"]);

export interface RuncContext {
  readonly children: Children;
  /** Where calls are recorded; shared by all containers of a shim. */
  readonly history?: CallHistory;
  readonly deadlines?: Deadlines;
  /** Taken ahead of a runtime that moves processes, if given. */
  readonly cgroupLock?: CgroupLock;
  /** Aborts when this process is to end: no runtime goes on creating or changing a container. */
  readonly ending?: AbortSignal;
}

/** One call, ready to be run. */
interface Call {
  readonly verb: Verb;
  /** "" for none. */
  readonly id: string;
  readonly args: readonly string[];
  readonly options: CallOptions;
  readonly stdio?: LentStdio | undefined;
  readonly input?: Uint8Array | undefined;
  /** Lines of configuration for CRIU. */
  readonly criuConfig?: readonly string[] | undefined;
}

/** An OCI runtime as an executable. Holds no descriptor and no process between calls. */
export class Runc implements Runtime {
  readonly #options: RuntimeOptions;
  readonly #environment: readonly string[];
  readonly #children: Children;
  readonly #history: CallHistory;
  readonly #deadlines: Deadlines;
  readonly #cgroupLock: CgroupLock | undefined;
  readonly #ending: AbortSignal | undefined;
  /** Where the command was found; a container keeps its runtime for as long as that is there. */
  #path: string | undefined;
  /** Counts this object's temporary files. */
  #fileCount = 0;

  constructor(options: RuntimeOptions, context: RuncContext) {
    this.#options = options;
    this.#environment = scrubEnvironment(options.environment);
    this.#children = context.children;
    this.#history = context.history ?? new CallHistory();
    this.#deadlines = context.deadlines ?? defaultDeadlines;
    this.#cgroupLock = context.cgroupLock;
    this.#ending = context.ending;
  }

  async create(id: string, request: CreateRequest): Promise<number> {
    const args = createArgs(id, this.#options.bundle, request);
    return await this.#makeProcess("create", id, args, request);
  }

  async restore(id: string, request: RestoreRequest): Promise<number> {
    const args = restoreArgs(id, this.#options.bundle, request);
    return await this.#makeProcess("restore", id, args, request, request.criu?.config);
  }

  async start(id: string, options: CallOptions = {}): Promise<void> {
    await this.#run({ verb: "start", id, args: startArgs(id), options });
  }

  async exec(id: string, request: ExecRequest): Promise<number> {
    const { processJson, pidFile, consoleSocket } = request;
    const processFile = this.#temporaryFile("process");
    try {
      writeProcess(processFile, processJson);
      const args = execArgs(id, { processFile, pidFile, consoleSocket });
      return await this.#makeProcess("exec", id, args, request);
    } finally {
      removeIfPossible(processFile);
    }
  }

  async kill(id: string, signal: number, options: KillOptions): Promise<void> {
    await this.#run({ verb: "kill", id, args: killArgs(id, signal, options), options });
  }

  async delete(id: string, options: DeleteOptions): Promise<void> {
    await this.#run({ verb: "delete", id, args: deleteArgs(id, options), options });
  }

  async pause(id: string, options: CallOptions = {}): Promise<void> {
    await this.#run({ verb: "pause", id, args: pauseArgs(id), options });
  }

  async resume(id: string, options: CallOptions = {}): Promise<void> {
    await this.#run({ verb: "resume", id, args: resumeArgs(id), options });
  }

  async update(id: string, input: Uint8Array, options: CallOptions = {}): Promise<void> {
    await this.#run({ verb: "update", id, args: updateArgs(id), options, input });
  }

  async checkpoint(id: string, request: CheckpointRequest): Promise<void> {
    const args = checkpointArgs(id, request);
    const criuConfig = request.criu?.config;
    await this.#run({ verb: "checkpoint", id, args, options: request, criuConfig });
  }

  async features(options: CallOptions = {}): Promise<string> {
    return await this.#run({ verb: "features", id: "", args: ["features"], options });
  }

  /** Runs a verb that leaves a process behind; returns its pid. */
  async #makeProcess(
    verb: "create" | "restore" | "exec",
    id: string,
    args: readonly string[],
    request: ProcessRequest,
    criuConfig?: readonly string[],
  ): Promise<number> {
    const { pidFile, consoleSocket } = request;
    rmSync(pidFile, { force: true });
    // With a terminal the process gets its stdio from the pty, so the runtime's own can be captured.
    const stdio = consoleSocket === undefined ? request.stdio : undefined;
    try {
      await this.#run({ verb, id, args, options: request, stdio, criuConfig });
    } catch (error) {
      if (verb === "exec") this.#killLeft(pidFile);
      throw error;
    }
    return readPid(verb, pidFile);
  }

  /** Runs one call to its end and returns what it wrote to standard output. Throws RuntimeError. */
  async #run(call: Call): Promise<string> {
    const { verb, options } = call;
    const ending = ENDING_VERBS.has(verb) ? undefined : this.#ending;
    const signals = [options.signal, ending].filter((signal) => signal !== undefined);
    if (signals.some(({ aborted }) => aborted)) {
      throw unstarted(verb, "canceled", "canceled before it began");
    }
    const found = this.#findExecutable();
    if (found.kind === "missing") throw unstarted(verb, "runtimeNotFound", found.message);
    if (this.#movesProcess(verb, found.path)) this.#cgroupLock?.expectMove();
    const { bundle } = this.#options;
    const isHomeless = ENDING_VERBS.has(verb) && !existsSync(bundle);
    // Verbs without a container have no bundle to speak of, and report errors on stderr.
    const hasLog = call.id !== "" && !isHomeless;
    const logFile = hasLog ? makePrivate(this.#temporaryFile(`${verb}-log`)) : undefined;
    let open: OpenCall | undefined;
    using files = new DisposableStack();
    try {
      const outcome = await this.#invoke(call, {
        argv: [found.path, ...this.#globalArgs(call, logFile), ...call.args],
        env: this.#environmentFor(call, files),
        cwd: isHomeless ? "/" : bundle,
        stdio: call.stdio,
        input: call.input,
        logFile,
        timeoutMs: options.timeoutMs ?? this.#deadlines[verb],
        signals,
        onSpawn: (pid) => {
          open = this.#history.begin(verb, call.id, pid);
        },
      });
      const error = judge(verb, this.#options.command, outcome, logFile);
      const status = outcome.kind === "exited" ? outcome.exit.status : undefined;
      open?.end({ status, error: error?.runtimeMessage ?? "" });
      if (error !== undefined) throw error;
      return outcome.kind === "exited" ? (outcome.stdout ?? "") : "";
    } finally {
      if (logFile !== undefined) removeIfPossible(logFile);
    }
  }

  /**
   * A killed runtime may have created its process already, and nobody will adopt it. The file may also hold a pid
   * that it should not: only what nobody has is killed.
   */
  #killLeft(pidFile: string): void {
    try {
      this.#children.killStray(readPidFile(pidFile));
    } catch {
      // The usual failure: there is none.
    }
  }

  /** Whether the call is about to move a process to the container's cgroup. */
  #movesProcess(verb: Verb, program: string): boolean {
    if (!MOVING_VERBS.has(verb)) return false;
    return !(this.#cgroupLock?.isUnified && UNMOVING_RUNTIMES.has(basename(program)));
  }

  #findExecutable(): Lookup {
    if (this.#path !== undefined) {
      const known = findExecutable(this.#path, this.#environment);
      if (known.kind === "found") return known;
    }
    const found = findExecutable(this.#options.command, this.#environment);
    this.#path = found.kind === "found" ? found.path : undefined;
    return found;
  }

  #environmentFor({ criuConfig = [] }: Call, files: DisposableStack): readonly string[] {
    if (criuConfig.length === 0) return this.#environment;
    const file = this.#temporaryFile("criu", "conf");
    files.defer(() => rmSync(file, { force: true }));
    writeFileSync(file, criuConfigText(this.#environment, criuConfig), { mode: 0o600, flag: "wx" });
    return withCriuConfig(this.#environment, file);
  }

  /** Spawns and waits; a spawn that the kernel refuses becomes a RuntimeError. */
  async #invoke(call: Call, invocation: Invocation): Promise<Outcome> {
    try {
      return await invoke(invocation, this.#children);
    } catch (cause) {
      const { bundle } = this.#options;
      // The kernel reports ENOENT for the working directory as well as for the executable.
      const text =
        hasCode(cause, "ENOENT") && !existsSync(bundle)
          ? `chdir ${bundle}: no such file or directory`
          : messageOf(cause);
      throw unstarted(call.verb, "other", text, cause);
    }
  }

  #globalArgs({ id }: Call, logFile: string | undefined): readonly string[] {
    if (id === "") return [];
    const { root, systemdCgroup } = this.#options;
    return globalArgs({ root, logFile, systemdCgroup });
  }

  /**
   * A unique name in the bundle: other processes (`delete` runs beside a shim) differ in the pid, other
   * objects in this process in the time.
   */
  #temporaryFile(subject: string, format: "json" | "conf" = "json"): string {
    this.#fileCount++;
    const unique = `${ownPid()}-${Date.now().toString(36)}-${this.#fileCount}`;
    return join(this.#options.bundle, `runtime-${subject}-${unique}.${format}`);
  }
}

/** Its environment may hold secrets. Throws RuntimeError. */
function writeProcess(file: string, json: string): void {
  try {
    writeFileSync(file, json, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    const text = `cannot write the process to ${file}: ${messageOf(cause)}`;
    throw unstarted("exec", "other", text, cause);
  }
}

/**
 * Makes a log file that not everybody may read: runtimes append to an existing one. Undefined where there can be
 * none, as on a full disk: then they report errors on stderr, and do their work all the same.
 */
function makePrivate(logFile: string): string | undefined {
  try {
    closeSync(openSync(logFile, "wx", 0o600));
    return logFile;
  } catch {
    return undefined;
  }
}

/** What came of the call counts, whatever becomes of its files. */
function removeIfPossible(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // A file system that has become read-only.
  }
}

/** A failure in which the runtime never ran. */
function unstarted(
  verb: Verb,
  kind: FailureKind,
  runtimeMessage: string,
  cause?: unknown,
): RuntimeError {
  return new RuntimeError({ verb, kind, runtimeMessage }, { cause });
}

function readPid(verb: "create" | "restore" | "exec", pidFile: string): number {
  try {
    return readPidFile(pidFile);
  } catch (cause) {
    const subject = verb === "exec" ? "exec" : "container";
    const runtimeMessage = `failed to retrieve OCI runtime ${subject} pid: ${messageOf(cause)}`;
    throw new RuntimeError({ verb, kind: "other", runtimeMessage }, { cause });
  }
}
