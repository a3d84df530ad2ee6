import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Kit } from "./kit.ts";

const SHORT = { loggerLimits: { readyMs: 300, endMs: 200, killMs: 300 } };

function logger(kit: Kit, script: string): string {
  const path = join(kit.dir, "logger");
  writeFileSync(path, `#!/bin/bash\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe("file://", () => {
  test("makes directories and file, appends, and takes stderr too", async () => {
    await using kit = new Kit();
    const path = join(kit.dir, "a/b/c.log");
    for (const round of [1, 2]) {
      const stdio = await kit.open({ stdout: `file://${path}`, stderr: `file://${path}` });
      await kit.start(stdio, `echo out${round}; echo err${round} >&2; echo > /dev/stdout`);
      await stdio.drained;
    }
    expect(readFileSync(path, "utf8")).toBe("out1\nerr1\n\nout2\nerr2\n\n");
    expect(statSync(path).mode & 0o777).toBe(0o644);
    expect(statSync(join(kit.dir, "a/b")).mode & 0o777).toBe(0o755);
  });

  test("takes stdin from a FIFO", async () => {
    await using kit = new Kit();
    const [path, stdin] = [join(kit.dir, "log"), kit.fifo("in")];
    const stdio = await kit.open({ stdin, stdout: `file://${path}` });
    await kit.start(stdio, "cat");
    await kit.shell(`seq 1000 > ${stdin}`).exited;
    stdio.closeStdin();
    await stdio.drained;
    expect(readFileSync(path, "utf8").split("\n").length).toBe(1001);
  });

  test("50 MB arrive", async () => {
    await using kit = new Kit();
    const path = join(kit.dir, "log");
    const random = kit.random(50 * 1024 * 1024);
    const stdio = await kit.open({ stdout: `file://${path}` });
    await kit.start(stdio, `cat ${random.path}`);
    await stdio.drained;
    expect(await kit.output(`sha256sum < ${path}`)).toStartWith(random.sum);
  }, 60_000);

  test("a directory in the place of the file is an error", async () => {
    await using kit = new Kit();
    await expect(kit.open({ stdout: `file://${kit.dir}` })).rejects.toThrow(`open ${kit.dir}: `);
  });
});

describe("binary://", () => {
  test("the logger has both streams, its arguments, two variables, and nothing else", async () => {
    await using kit = new Kit();
    const path = logger(
      kit,
      `env > ${kit.dir}/env; echo "$@" > ${kit.dir}/args; ls /proc/self/fd > ${kit.dir}/fds
       exec 5>&-; cat <&3 > ${kit.dir}/out & cat <&4 > ${kit.dir}/err; wait`,
    );
    const uri = `binary://${path}?b=2&a=1`;
    const stdio = await kit.open({ stdout: uri, stderr: uri });
    await kit.start(stdio, "seq 1000; echo oops >&2");
    await stdio.drained;
    await stdio.close();
    expect(readFileSync(`${kit.dir}/out`, "utf8").split("\n").length).toBe(1001);
    expect(readFileSync(`${kit.dir}/err`, "utf8")).toBe("oops\n");
    expect(readFileSync(`${kit.dir}/args`, "utf8")).toBe("b 2 a 1\n");
    const env = readFileSync(`${kit.dir}/env`, "utf8").split("\n");
    expect(env.filter((line) => /^[A-Z]/.test(line) && !/^(PWD|SHLVL|OLDPWD)=/.test(line))).toEqual(
      ["CONTAINER_NAMESPACE=ns", "CONTAINER_ID=c1"],
    );
    expect(readFileSync(`${kit.dir}/fds`, "utf8").split("\n").slice(0, 6)).toEqual([
      "0",
      "1",
      "2",
      "3",
      "4",
      "5",
    ]);
    expect(kit.warnings).toEqual([]);
  });

  test("a byte means ready as well as the end does", async () => {
    await using kit = new Kit();
    const path = logger(kit, "echo >&5; exec cat <&3 > /dev/null");
    for (const scheme of ["binary", "binary-v2"]) {
      const stdio = await kit.open({ stdout: `${scheme}://${path}` });
      await kit.start(stdio, "echo");
      await stdio.drained;
      await stdio.close();
    }
    expect(kit.warnings).toEqual([]);
  });

  test("binary-v2 demands a byte", async () => {
    await using kit = new Kit();
    const path = logger(kit, "exec 5>&-; exec sleep 60");
    await expect(kit.open({ stdout: `binary-v2://${path}` })).rejects.toThrow(
      "logging binary did not call ready (it may have crashed or exited prematurely)",
    );
  });

  test("a silent logger is an error within the limit, and is killed", async () => {
    await using kit = new Kit();
    const path = logger(kit, `echo $$ > ${kit.dir}/pid; exec sleep 60`);
    await expect(kit.open({ stdout: `binary://${path}` }, SHORT)).rejects.toThrow(
      `Logging binary ${path} was not ready within 300 ms`,
    );
    const pid = readFileSync(`${kit.dir}/pid`, "utf8").trim();
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });

  test("a missing logger is an error that names it", async () => {
    await using kit = new Kit();
    await expect(kit.open({ stdout: "binary:///no/such" })).rejects.toThrow(
      'failed to start binary process: exec "/no/such": no such file or directory',
    );
  });

  test("a logger that dies is reported, and the container goes on", async () => {
    await using kit = new Kit();
    const go = kit.fifo("go");
    const path = logger(kit, `exec 5>&-; read line < ${go}; exit 3`);
    const stdio = await kit.open({ stdout: `binary://${path}` });
    const child = await kit.start(stdio, "head -c 10000000 /dev/zero && exec sleep 0.05");
    kit.shell(`echo > ${go}`);
    expect((await child.exited).status).toBe(0);
    expect(kit.warnings).toEqual([
      "Logging binary ended while it was needed: output is lost from now on",
    ]);
    await stdio.drained;
  });

  test("a logger that reads late, and stops in the middle, has every byte", async () => {
    await using kit = new Kit();
    const { path: data, sum } = kit.random(8 * 1024 * 1024);
    const result = join(kit.dir, "sum");
    const path = logger(
      kit,
      `exec 5>&-; sleep 0.3; (head -c 1000000; sleep 0.3; cat) <&3 | sha256sum > ${result}`,
    );
    const stdio = await kit.open({ stdout: `binary://${path}` });
    const child = await kit.start(stdio, `cat ${data}`);
    expect((await child.exited).status).toBe(0);
    await stdio.drained;
    await stdio.close();
    expect(readFileSync(result, "utf8")).toStartWith(sum);
    expect(kit.warnings).toEqual([]);
  });

  test("a logger that ends with its input is not reported", async () => {
    await using kit = new Kit();
    const path = logger(kit, "exec 5>&-; cat <&3 >/dev/null; cat <&4 >/dev/null");
    for (let round = 0; round < 20; round++) {
      const stdio = await kit.open({ stdout: `binary://${path}` });
      await kit.start(stdio, "echo");
      await stdio.drained;
      await stdio.close();
    }
    expect(kit.warnings).toEqual([]);
  });

  test("a logger that ignores the end of its input is asked, and may finish", async () => {
    await using kit = new Kit();
    const path = logger(
      kit,
      `trap 'echo asked > ${kit.dir}/asked; exit' TERM; exec 5>&-; while :; do sleep 0.02; done`,
    );
    const stdio = await kit.open({ stdout: `binary://${path}` }, SHORT);
    await kit.start(stdio, "echo");
    await stdio.drained;
    await stdio.close();
    expect(readFileSync(`${kit.dir}/asked`, "utf8")).toBe("asked\n");
    expect(kit.warnings).toEqual([]);
  });

  test("a logger that ignores being asked is killed", async () => {
    await using kit = new Kit();
    const path = logger(kit, "trap '' TERM; exec 5>&-; exec sleep 60");
    const stdio = await kit.open({ stdout: `binary://${path}` }, SHORT);
    await kit.start(stdio, "echo");
    await stdio.drained;
    await stdio.close();
    expect(kit.warnings).toEqual(["Logging binary did not end when asked and is killed"]);
  });

  test("close() before the start ends the logger", async () => {
    await using kit = new Kit();
    const path = logger(kit, "exec 5>&-; cat <&3; cat <&4");
    const stdio = await kit.open({ stdout: `binary://${path}` });
    await stdio.close();
    expect(stdio.descriptors()).toEqual([]);
  });
});
