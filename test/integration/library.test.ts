/** The library for programs, built, under Node and under Bun: the examples of README, with a real shim. */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeBundle } from "../fake/bundle.ts";

const root = join(import.meta.dirname, "../..");
const shim = join(root, "dist/containerd-shim-wedge-v2");
/** Inside of the package, so that it can import itself by its name. */
const directory = mkdtempSync(join(root, "dist/.examples-"));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The examples as README has them, in their order. */
function examples(): readonly string[] {
  const text = readFileSync(join(root, "README.md"), "utf8");
  return [...text.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code = ""], index) => {
    const path = join(directory, `example-${index}.mjs`);
    writeFileSync(path, code);
    return path;
  });
}

async function output(argv: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const child = Bun.spawn([...argv], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const text = await new Response(child.stdout).text();
  expect({ argv, code: await child.exited }).toMatchObject({ code: 0 });
  return text;
}

/** Drives one life of a container through the built library, for programs that tests write. */
const LIFE = `
import { connectTask } from "wedge/task";
const [address, id, bundle] = process.argv.slice(2);
const { task, client, version } = await connectTask({ address });
const call = { id, execId: "" };
const streams = { terminal: false, stdin: "", stdout: "", stderr: "" };
await task.create({ id, bundle, rootfs: [], ...streams, checkpoint: "", parentCheckpoint: "", options: undefined });
await task.start(call);
if (process.argv[5] === "leave") process.exit(0);
await task.kill({ ...call, signal: 9, all: false });
const { exitStatus } = await task.wait(call);
await task.delete(call);
await task.shutdown({ id, now: false });
client.close();
console.log(JSON.stringify({ version, exitStatus }));
`;

/** A shim for a bundle, below a state directory as containerd lays it out. */
async function startShim(ttrpcAddress: string) {
  const namespace = `library-${crypto.randomUUID().slice(0, 8)}`;
  const state = mkdtempSync(join(tmpdir(), "wedge-state-"));
  const parent = join(state, "io.containerd.runtime.v2.task", namespace);
  mkdirSync(parent, { recursive: true });
  const bundle = makeBundle({ parent, args: ["sleep", "600"] });
  const flags = ["-namespace", namespace, "-address", join(state, "c.sock"), "-id", bundle.id];
  const child = Bun.spawn([shim, ...flags, "start"], {
    cwd: bundle.path,
    env: { PATH: process.env["PATH"] ?? "", TTRPC_ADDRESS: ttrpcAddress },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const address = (await new Response(child.stdout).text()).trim();
  expect(address).toStartWith("unix://");
  return { namespace, state, address, id: bundle.id, path: bundle.path };
}

describe.each([["node"], [process.execPath]])("under %s", (engine) => {
  test("README's examples say what happens to a container and what it is", async () => {
    const [stateExample = "", eventsExample = ""] = examples();
    const life = join(directory, "life.mjs");
    writeFileSync(life, LIFE);
    const socket = join(directory, `events-${Bun.hash(engine)}`.slice(0, 100));
    const listener = Bun.spawn([engine, eventsExample, socket], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const reader = listener.stdout.getReader();
    const decoder = new TextDecoder();
    let events = "";
    const readMore = async () => {
      const { value, done } = await reader.read();
      events += decoder.decode(value);
      return !done;
    };
    while (!events.includes("listening")) await readMore();
    const { namespace, state, address, id, path } = await startShim(socket);
    await output([engine, life, address, id, path, "leave"]);
    // The example looks where containerd keeps its state; here that is another directory.
    const code = readFileSync(stateExample, "utf8");
    const elsewhere = code.replace(
      "{ namespace, id }",
      `{ namespace, id, stateDirectory: "${state}" }`,
    );
    writeFileSync(stateExample, elsewhere);
    const said = await output([engine, stateExample, namespace, id]);
    expect(said).toMatch(/pid: \d+,?\s+status: 2,?\s+processes: 1,?\s+version: 3/);
    const rest = LIFE.replace(/await task\.create[\s\S]*process\.exit\(0\);\n/, "");
    writeFileSync(life, rest);
    expect(JSON.parse(await output([engine, life, address, id]))).toEqual({
      version: 3,
      exitStatus: 137,
    });
    while (await readMore());
    expect(await listener.exited).toBe(0);
    expect(events.split("\n").filter((line) => line.startsWith("/"))).toEqual(
      ["create", "start", "exit", "delete"].map((topic) => `/tasks/${topic} ${id}`),
    );
    rmSync(state, { recursive: true, force: true });
    rmSync(`/run/containerd/runc/${namespace}`, { recursive: true, force: true });
  }, 60_000);

  test("both entries load, and a service of one's own is served and called", async () => {
    const program = join(directory, "own.mjs");
    writeFileSync(
      program,
      `import { connect, createStub, listen, mountService, RpcError, TtrpcServer } from "wedge/ttrpc";
       const text = { encode: (value) => ({ finish: () => Buffer.from(value) }), decode: (bytes) => Buffer.from(bytes).toString() };
       const method = { requestType: text, responseType: text, requestStream: false, responseStream: false };
       const definition = { fullName: "x.Echo", methods: { up: { ...method, name: "Up" }, no: { ...method, name: "No" } } };
       const server = new TtrpcServer({ services: [mountService(definition, {
         up: (value) => value.toUpperCase(),
         no: () => { throw new RpcError("notFound", "nothing here"); },
       })] });
       const path = process.argv[2];
       await listen(server, { path });
       const client = await connect({ path });
       const echo = createStub(client, definition);
       const refusal = await echo.no("x").catch((error) => error.reason);
       console.log(await echo.up("abc"), refusal);
       client.close();
       await server.shutdown(1000);`,
    );
    const socket = join(directory, `own-${Bun.hash(engine)}`);
    expect(await output([engine, program, socket])).toBe("ABC notFound\n");
  }, 60_000);
});
