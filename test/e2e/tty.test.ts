import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";

const CTRL_C = "\x03";
const CTRL_D = "\x04";
const ARROW_UP = "\x1b[A";

matrix("tty", { versions: "all" }, (scene) => {
  test("run -t gives a terminal of the client's size that follows its changes", async () => {
    const script = `
      test -t 0 && test -t 1 && test -t 2 && echo terminal
      trap 'echo "winch $(stty size)"' WINCH
      echo "first $(stty size)"
      while [ ! -e /done ]; do
        size=$(stty size); [ "$size" = "$last" ] || echo "size $size"; last=$size
        sleep 0.05
      done`;
    const id = scene.id();
    const terminal = scene.daemon.terminal(
      scene.run(id, ["sh", "-c", script], { flags: ["--rm", "-t"] }),
      { columns: 101, rows: 41 },
    );
    await terminal.waitFor(/terminal\n/);
    await terminal.waitFor(/size 41 101\n/);
    terminal.resize(77, 33);
    await terminal.waitFor(/winch 33 77\n/);
    await scene.daemon.touch(id, "/done");
    expect(await terminal.finish()).toBe(0);
  });

  test("an interactive shell takes lines, Ctrl-C and Ctrl-D", async () => {
    const terminal = scene.daemon.terminal(
      scene.run(scene.id(), ["sh"], { flags: ["--rm", "-t"] }),
    );
    await terminal.waitFor(/# /);
    terminal.type("echo $((40 + 2))\n");
    await terminal.waitFor(/\n42\n/);
    terminal.type("echo asleep; sleep 600\n");
    await terminal.waitFor(/\nasleep\n/);
    terminal.type(CTRL_C);
    await terminal.waitFor(/\^C/);
    terminal.type("echo code $?\n");
    await terminal.waitFor(/\ncode 130\n/);
    await terminal.waitFor(/# /, terminal.output.lastIndexOf("code 130"));
    terminal.type(CTRL_D);
    expect(await terminal.finish()).toBe(0);
  });

  test("in raw mode every byte reaches the program as it was typed", async () => {
    const script = "stty raw -echo; echo ready; head -c 6 | od -An -tx1; exit 6";
    const terminal = scene.daemon.terminal(
      scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm", "-t"] }),
    );
    await terminal.waitFor(/ready/);
    terminal.type(`${ARROW_UP}${CTRL_C}${CTRL_D}\r`);
    await terminal.waitFor(/1b 5b 41 03 04 0d/);
    expect(await terminal.finish()).toBe(6);
  });

  test("a megabyte written in the last instant arrives whole", async () => {
    const script = "stty -opost; yes 0123456789abcde | head -c 1048576; printf end; exit 9";
    const terminal = scene.daemon.terminal(
      scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm", "-t"] }),
    );
    expect(await terminal.finish()).toBe(9);
    // ctr closes its FIFO when it hears of the end, which the stock shim tells before all has been read.
    if (scene.kind === "runc") return;
    expect(terminal.output.length).toBe(1048576 + 3);
    expect(terminal.output.endsWith("abcde\nend")).toBe(true);
  });

  test("exec -t has a terminal and an exit code of its own", async () => {
    const id = await scene.start(["sleep", "600"]);
    const terminal = scene.daemon.terminal(["task", "exec", "--exec-id", "e1", "-t", id, "sh"], {
      columns: 91,
      rows: 31,
    });
    await terminal.waitFor(/# /);
    // The first size is the client's; only after that does it listen for changes.
    for (const [columns, rows] of [
      [91, 31],
      [60, 20],
      [132, 50],
    ] as const) {
      const from = terminal.output.length;
      terminal.resize(columns, rows);
      terminal.type(`until [ "$(stty size)" = "${rows} ${columns}" ]; do :; done; echo same\n`);
      await terminal.waitFor(/\nsame\n/, from);
    }
    terminal.type("tty; exit 11\n");
    await terminal.waitFor(/\/dev\/pts\/\d+/);
    expect(await terminal.finish()).toBe(11);
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    await scene.remove(id);
  });

  test("a detached container on a terminal can be attached to, left, and attached to again", async () => {
    const id = scene.id();
    const starter = scene.daemon.terminal(scene.run(id, ["sh"], { flags: ["-d", "-t"] }));
    expect(await starter.finish()).toBe(0);
    for (const word of ["first", "second"]) {
      const terminal = scene.daemon.terminal(["task", "attach", id]);
      terminal.type(`echo ${word}-$((1 + 1))\n`);
      await terminal.waitFor(new RegExp(`${word}-2\n`));
      terminal.kill("SIGKILL");
      await terminal.exited;
    }
    expect(await scene.daemon.status(id)).toBe("RUNNING");
    await scene.remove(id);
  });
});
