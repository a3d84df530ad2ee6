/** gRPC: containerd 1.7 calls the shim over it when asked to, and anybody may on the same socket. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { TaskDefinition } from "../../src/gen/containerd/task/v3/task.ts";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import type { MethodDefinition, RequestOf, ResponseOf } from "../../src/rpc/service.ts";
import { matrix } from "./matrix.ts";

const daemon = { variables: { WEDGE_PROTOCOL: "grpc" } };
const CALL_LIMIT_MS = 60_000;

matrix("gRPC", { versions: "all", runtimes: ["wedge"], daemon }, (scene) => {
  const isSpoken = () => scene.daemon.version.series === "1.7";

  test("a containerd that cannot speak it with shims is told so, and nothing is left", async () => {
    if (isSpoken()) return;
    const id = scene.id();
    const { code, stderr } = await scene.daemon.call(scene.run(id, ["true"]));
    expect(code).not.toBe(0);
    expect(stderr).toContain("Cannot offer gRPC");
    await scene.daemon.removeClientFifos();
    await scene.daemon.ctr("container", "rm", id);
  });

  test("a container runs, with its output and its exit code", async () => {
    if (!isSpoken()) return;
    const script = ["sh", "-c", "echo out; echo err >&2; exit 7"];
    const run = scene.run(scene.id(), script, { flags: ["--rm"] });
    const streams = { stdout: "out\n", stderr: "err\n" };
    expect(await scene.daemon.call(run)).toMatchObject({ code: 7, ...streams });
  });

  test("a failure of the runtime reaches the user in its own words", async () => {
    if (!isSpoken()) return;
    const run = scene.run(scene.id(), ["/no/such/program"], { flags: ["--rm"] });
    const { code, stderr } = await scene.daemon.call(run);
    expect(code).not.toBe(0);
    expect(stderr).toContain("no such file or directory");
  });

  test("execs, signals, pause, figures and the list of processes, over a restart of containerd", async () => {
    if (!isSpoken()) return;
    const id = await scene.start(["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"]);
    const pid = await scene.daemon.taskPid(id);
    const exec = (execId: string) =>
      scene.daemon.call(["task", "exec", "--exec-id", execId, id, "sh", "-c", "cat; exit 3"], {
        stdin: new TextEncoder().encode("through\n"),
      });
    expect(await exec("e1")).toMatchObject({ code: 3, stdout: "through\n" });
    await scene.daemon.ctr("task", "pause", id);
    expect(await scene.daemon.status(id)).toBe("PAUSED");
    await scene.daemon.ctr("task", "resume", id);
    expect(await scene.daemon.ctr("task", "metrics", id)).toContain("memory");
    expect(await scene.daemon.ctr("task", "ps", id)).toContain(String(pid));
    await scene.daemon.kill();
    await scene.daemon.resume();
    expect(await scene.daemon.taskPid(id)).toBe(pid);
    expect(await exec("e2")).toMatchObject({ code: 3, stdout: "through\n" });
    await scene.daemon.ctr("task", "kill", "-s", "SIGTERM", id);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(9);
    await scene.daemon.ctr("container", "rm", id);
  });
});

/** A caller of the Task API that has nothing of ours but the messages. */
class GrpcCaller implements Disposable {
  readonly #client: Client;

  constructor(socket: string) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
  }

  async call<M extends MethodDefinition>(
    { name, requestType, responseType }: M,
    request: RequestOf<M>,
    limitMs = CALL_LIMIT_MS,
  ): Promise<ResponseOf<M>> {
    return await new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/${TaskDefinition.fullName}/${name}`,
        (message: RequestOf<M>) => Buffer.from(requestType.encode(message).finish()),
        (bytes) => responseType.decode(bytes) as ResponseOf<M>,
        request,
        new Metadata(),
        { deadline: Date.now() + limitMs },
        (error: ServiceError | null, answer) => {
          if (error === null && answer !== undefined) resolve(answer);
          else reject(error);
        },
      );
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

matrix("gRPC beside ttrpc", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  const { methods } = TaskDefinition;
  const connect = (id: string) => {
    const address = readFileSync(join(scene.daemon.bundle(id), "address"), "utf8");
    return new GrpcCaller(scene.daemon.sandbox.path(address.replace("unix://", "")));
  };

  test("a task that containerd holds over ttrpc is seen, waited for and ended over gRPC", async () => {
    const id = await scene.start(["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"]);
    using caller = connect(id);
    const state = await caller.call(methods.state, { id, execId: "" });
    expect(state).toMatchObject({ id, status: Status.RUNNING });
    const { processes } = await caller.call(methods.pids, { id });
    expect(processes.map(({ pid }) => pid)).toContain(state.pid);
    const waiting = caller.call(methods.wait, { id, execId: "" });
    await caller.call(methods.kill, { id, execId: "", signal: 15, all: false });
    expect((await waiting).exitStatus).toBe(9);
    await scene.daemon.waitForStatus(id, "STOPPED");
    expect(await scene.daemon.removeTask(id)).toBe(9);
    await scene.daemon.ctr("container", "rm", id);
  });

  test("an unknown task, an unknown method and a deadline are told by their codes", async () => {
    const id = await scene.start(["sleep", "600"]);
    using caller = connect(id);
    const codeOf = (call: Promise<unknown>) =>
      call.then(
        () => status.OK,
        (error: ServiceError) => error.code,
      );
    const nobody = { id: "nobody", execId: "" };
    expect(await codeOf(caller.call(methods.state, nobody))).toBe(status.NOT_FOUND);
    const method = { ...methods.state, name: "Juggle" };
    expect(await codeOf(caller.call(method, nobody))).toBe(status.UNIMPLEMENTED);
    const waiting = caller.call(methods.wait, { id, execId: "" }, 300);
    expect(await codeOf(waiting)).toBe(status.DEADLINE_EXCEEDED);
    await scene.remove(id);
  });
});
