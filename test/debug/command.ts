/** The debugging command as people call it: the compiled executable, its streams, its exit code. */

import { join } from "node:path";

const SHIM = join(import.meta.dirname, "../../dist/shim");

/** What a call came to. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Calls it with its output on pipes, and waits for its end. */
export async function shim(
  args: readonly string[],
  input?: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  const stdin = input === undefined ? "ignore" : Buffer.from(input);
  const env = { ...process.env, ...variables };
  const child = Bun.spawn([SHIM, ...args], { stdin, stdout: "pipe", stderr: "pipe", env });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}

/** A call that must succeed; its output. */
export async function shimOutput(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await shim(args);
  if (code === 0) return stdout;
  throw new Error(`shim ${args.join(" ")}: exit code ${code}\n${stderr}${stdout}`);
}

/** A call on a terminal of its own, for as long as it is not disposed. */
export class ShimTerminal implements AsyncDisposable {
  readonly #terminal: Bun.Terminal;
  readonly #child: Bun.Subprocess;
  #output = "";
  #awaited: { readonly pattern: RegExp; readonly resolve: () => void } | undefined;

  constructor(args: readonly string[], { cols = 80, rows = 24 } = {}) {
    this.#terminal = new Bun.Terminal({
      cols,
      rows,
      data: (_terminal, chunk) => {
        this.#output += Buffer.from(chunk).toString();
        if (this.#awaited?.pattern.test(this.#output)) this.#awaited.resolve();
      },
    });
    this.#child = Bun.spawn([SHIM, ...args], { terminal: this.#terminal });
  }

  /** All that was shown. */
  get output(): string {
    return this.#output;
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  /** Waits until `pattern` has been shown, for as long as the test may take. */
  async shows(pattern: RegExp): Promise<void> {
    if (pattern.test(this.#output)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#awaited = { pattern, resolve };
    await promise;
  }

  type(text: string): void {
    this.#terminal.write(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    this.#terminal.close();
  }
}
