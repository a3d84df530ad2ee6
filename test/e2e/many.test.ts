/** Many containers leave nothing: the check for leftovers is the matrix's own. */

import { expect, test } from "bun:test";
import { LONG_LIMIT_MS, matrix } from "./matrix.ts";

matrix("many", { runtimes: ["wedge"] }, (scene) => {
  test(
    "200 containers in a row",
    async () => {
      for (let index = 0; index < 200; index++) {
        const args = scene.run(scene.id(), ["sh", "-c", `exit ${index % 100}`], {
          flags: ["--rm"],
        });
        expect((await scene.daemon.call(args)).code).toBe(index % 100);
      }
    },
    LONG_LIMIT_MS,
  );

  test(
    "30 containers at once",
    async () => {
      const codes = await Promise.all(
        Array.from({ length: 30 }, async (_, index) => {
          const script = `echo hello ${index}; exit ${index}`;
          const args = scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm"] });
          const { code, stdout } = await scene.daemon.call(args, { limitMs: LONG_LIMIT_MS });
          return `${code} ${stdout}`;
        }),
      );
      expect(codes).toEqual(Array.from({ length: 30 }, (_, index) => `${index} hello ${index}\n`));
    },
    LONG_LIMIT_MS,
  );
});
