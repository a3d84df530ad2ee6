/** The part of the executable that runs before its engine, and the daemon that it leaves. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { saveDeletion } from "../../src/bundle/deletion-record.ts";
import {
  BootstrapParams,
  LogLevel,
} from "../../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { DeleteResponse } from "../../src/gen/containerd/task/v2/task.ts";
import { daemonsOf, openedBy, Place, readOr, runShim, until } from "../command/shim-process.ts";
import { buildExecutable, executable } from "../compiled.ts";

const TIMEOUT_MS = 60_000;
/** The number of close_range(2), on every processor. */
const CLOSE_RANGE = "436";
/** By a name that the launcher hands on to the daemon, and `command/start/launch-daemon.ts` would not. */
const launcherAlone = ["bash", "-c", `exec -a "by the launcher" ${executable} "$@"`, "bash"];
const directory = mkdtempSync(join(tmpdir(), "wedge-"));

beforeAll(buildExecutable, TIMEOUT_MS);

afterAll(() => rmSync(directory, { recursive: true }));

describe("the launcher", () => {
  test(
    "what containerd says on stdin outlives the program: the next one has it in its words and environment",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const ttrpcAddress = join(place.path, "t.sock");
      const stdin = BootstrapParams.encode({
        instanceId: "a",
        namespace: place.namespace,
        logLevel: LogLevel.DEBUG,
        containerdVersion: "2.3.0",
        containerdTtrpcAddress: ttrpcAddress,
        containerdGrpcAddress: "/other.sock",
        containerdBinary: "/usr/bin/containerd",
        extensions: [],
        socketDir: place.socketDirectory,
      }).finish();
      await place.start("a", { program: [executable], stdin });
      const [pid = 0] = daemonsOf(place.namespace);
      const link = join(directory, "shim");
      symlinkSync(executable, link);
      const upgrade = await runShim(["upgrade", `${place.namespace}/a`], {
        cwd: "/",
        program: [link],
      });
      expect(upgrade).toMatchObject({ exitCode: 0, stderr: "" });
      expect(readOr(`/proc/${pid}/cmdline`, "").split("\0")).toEqual([
        ...[executable, "-namespace", place.namespace, "-id", "a"],
        ...["-address", "/other.sock", "-debug", ""],
      ]);
      const environment = readOr(`/proc/${pid}/environ`, "").split("\0");
      const own = readFileSync("/proc/self/oom_score_adj", "utf8").trim();
      expect(environment).toContain(`TTRPC_ADDRESS=${ttrpcAddress}`);
      expect(environment).toContain(`WEDGE_CHILD_OOM_SCORE=${own}`);
      expect(environment.filter((entry) => entry.startsWith("WEDGE_LAUNCHER="))).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    "the launcher leaves no more open than it should, and blocks what the daemon heeds",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const script = `exec 7</dev/null 8</dev/null; exec ${executable} "$@"`;
      await place.start("a", {
        program: ["bash", "-c", script, "bash"],
        env: { NOTIFY_SOCKET: "/n", BUN_OPTIONS: "--smol", KEPT: "yes", LISTEN_FDS: "1" },
      });
      const [pid = 0] = daemonsOf(place.namespace);
      const stat = readOr(`/proc/${pid}/stat`, "").split(") ")[1]?.split(" ") ?? [];
      expect(Number(stat[2])).toBe(pid); // Process group.
      await until(() => !openedBy(pid).some((target) => target.startsWith("pipe:")));
      expect(openedBy(pid).filter((target) => target === "/dev/null")).toHaveLength(3);
      const environment = readOr(`/proc/${pid}/environ`, "").split("\0");
      expect(environment).toContain("KEPT=yes");
      expect(environment).toContain("BUN_JSC_useConcurrentJIT=0");
      const dropped = /^(BUN_(?!JSC_|GC_)|NOTIFY_SOCKET|LISTEN_)/;
      expect(environment.filter((entry) => dropped.test(entry))).toEqual([]);
      expect(readOr(`/proc/${pid}/status`, "")).toContain("THP_enabled:\t0\n");
    },
    TIMEOUT_MS,
  );

  test.each([
    // As containerd sets it.
    ["/nowhere/lib:", ["LD_LIBRARY_PATH=/nowhere/lib"]],
    [":/a::/b:.:lib;/c/", ["LD_LIBRARY_PATH=/a:/b:/c/"]],
    ["lib:", []],
    ["", []],
  ])(
    "of directories to load libraries from, %j, a daemon gets those that are absolute",
    async (directories, wanted) => {
      await using place = new Place();
      place.bundle("a");
      await place.start("a", { program: launcherAlone, env: { LD_LIBRARY_PATH: directories } });
      const [pid = 0] = daemonsOf(place.namespace);
      expect(readOr(`/proc/${pid}/cmdline`, "")).toStartWith("by the launcher\0");
      const environment = readOr(`/proc/${pid}/environ`, "").split("\0");
      expect(environment.filter((entry) => entry.startsWith("LD_LIBRARY_PATH="))).toEqual(wanted);
    },
    TIMEOUT_MS,
  );

  test(
    "a start that fails says why, and its exit code is the engine's",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const run = await place.start("a", { program: [executable], stdin: Buffer.from("nonsense") });
      expect(run.exitCode).toBe(1);
      expect(run.stderr).toStartWith("containerd-shim-wedge-v2: Cannot decode the runtime options");
      expect(daemonsOf(place.namespace)).toEqual([]);
      expect(existsSync(join(place.path, "a/address"))).toBe(false);
    },
    TIMEOUT_MS,
  );

  test.each([
    ["<&-", "unix:///"],
    [">&-", ""],
    ["2>&-", "unix:///"],
    ["<&- >&- 2>&-", ""],
  ])(
    "with %s a start does what it would with /dev/null there",
    async (closing, answer) => {
      await using place = new Place();
      place.bundle("a");
      const script = `exec ${executable} "$@" ${closing}`;
      const run = await place.start("a", { program: ["bash", "-c", script, "bash"] });
      expect(run).toMatchObject({ exitCode: 0, stderr: "" });
      expect(run.stdout.toString()).toStartWith(answer);
      const [pid = 0] = daemonsOf(place.namespace);
      expect(readOr(`/proc/${pid}/environ`, "")).toContain("WEDGE_CHILD_HUGE_PAGES=true");
      await until(() => !openedBy(pid).some((target) => target.startsWith("pipe:")));
    },
    TIMEOUT_MS,
  );

  test(
    "where the kernel cannot close many descriptors at once, the engine closes what is not the daemon's",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const program = [process.execPath, join(import.meta.dir, "without-call.ts"), CLOSE_RANGE];
      const script = 'exec 9</etc/passwd; exec "$@"';
      await place.start("a", { program: ["bash", "-c", script, "bash", ...program, executable] });
      const [pid = 0] = daemonsOf(place.namespace);
      await until(() => !openedBy(pid).some((target) => target.startsWith("pipe:")));
      expect(openedBy(pid)).not.toContain("/etc/passwd");
      expect(readOr(`/proc/${pid}/environ`, "")).toContain("WEDGE_CHILD_HUGE_PAGES=true");
    },
    TIMEOUT_MS,
  );

  test(
    "a start that fails says so too where the ends of children are ignored",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const program = ["perl", "-e", "$SIG{CHLD} = 'IGNORE'; exec @ARGV", executable];
      const run = await place.start("a", { program, stdin: Buffer.from("nonsense") });
      expect(run.exitCode).toBe(1);
    },
    TIMEOUT_MS,
  );

  test(
    "a start that finds a shim leaves no dead process to whoever inherits it",
    async () => {
      await using place = new Place();
      for (const id of ["a", "b"]) place.bundle(id, { "io.containerd.runc.v2.group": "g" });
      const words = [executable, "-namespace", place.namespace, "-address", place.grpcAddress];
      // As the first process of a machine, it has every orphan for its child.
      const script = `
        for my $id ("a", "b") { chdir "${place.path}/$id"; system(@ARGV, "-id", $id, "start"); }
        select(undef, undef, undef, 0.3);
        print "\n", grep { /\\) Z/ } map { open(my $file, "<", $_); <$file> } glob("/proc/[0-9]*/stat");`;
      const namespace = ["unshare", "--pid", "--fork", "--mount-proc"];
      const run = Bun.spawnSync([...namespace, "perl", "-e", script, ...words]);
      const [answers = "", zombies] = run.stdout.toString().split("\n");
      expect(answers).toMatch(/^(unix:\/\/\/run\/containerd\/s\/[0-9a-f]{64}){2}$/);
      expect(zombies).toBe("");
      rmSync(answers.slice("unix://".length, answers.length / 2));
    },
    TIMEOUT_MS,
  );

  test(
    "a daemon whose start was killed ends, as nobody has its address",
    async () => {
      await using place = new Place();
      const bundle = place.bundle("a");
      const args = ["-namespace", place.namespace, "-address", place.grpcAddress, "-id", "a"];
      const child = Bun.spawn([executable, ...args, "start"], {
        cwd: bundle,
        stdin: "pipe",
        stdout: "pipe",
        stderr: "pipe",
      });
      await until(() => daemonsOf(place.namespace).length === 1);
      child.kill("SIGKILL");
      await child.exited;
      await child.stdin.end();
      await until(() => daemonsOf(place.namespace).length === 0);
      expect(readdirSync(bundle)).toEqual(["config.json"]);
    },
    TIMEOUT_MS,
  );

  test(
    "delete answers for a task that its shim has deleted, unless there is more to do",
    async () => {
      await using place = new Place();
      const bundle = place.bundle("a");
      const answer = DeleteResponse.encode({
        pid: 7,
        exitStatus: 3,
        exitedAt: { seconds: 9n, nanos: 0 },
      }).finish();
      saveDeletion(bundle, answer);
      const args = ["-namespace", place.namespace, "-id", "a", "-bundle", bundle, "delete"];
      const run = async () => await runShim(args, { cwd: bundle, program: [executable] });
      expect(await run()).toMatchObject({ exitCode: 0, stderr: "" });
      expect([...(await run()).stdout]).toEqual([...answer]);
      // A shim that has not said good-bye: its socket is to be taken away.
      writeFileSync(join(bundle, "address"), `unix://${join(place.path, "none.sock")}`);
      expect(DeleteResponse.decode((await run()).stdout)).toMatchObject({ exitStatus: 137 });
      rmSync(join(bundle, "address"));
      // A link is nobody's answer, nor is what is no file.
      for (const make of [["ln", "-s", "/etc/passwd"], ["mkfifo"], ["mkdir"], ["touch"]]) {
        rmSync(join(bundle, "deleted"), { recursive: true });
        Bun.spawnSync([...make, join(bundle, "deleted")]);
        expect(DeleteResponse.decode((await run()).stdout)).toMatchObject({ exitStatus: 137 });
      }
    },
    TIMEOUT_MS,
  );
});
