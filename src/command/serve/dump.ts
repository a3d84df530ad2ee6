/** What a shim is doing, in lines for people: what SIGUSR1 writes to the log. */

import type { Publisher } from "../../event/publisher.ts";
import type { CallHistory } from "../../runtime/call-history.ts";
import type { TaskService } from "../../service/task.ts";

/** Containers with their processes, waiting events, runtime calls. */
export function dumpLines(
  service: TaskService,
  publisher: Publisher,
  history: CallHistory,
): readonly string[] {
  return [
    ...processLines(service),
    `events pending=${publisher.pending} dropped=${publisher.dropped}`,
    ...history.list().map((call) => `runtime ${JSON.stringify(call)}`),
  ];
}

function processLines({ containers }: TaskService): readonly string[] {
  return [...containers].flatMap(({ id, init, execs }) =>
    [init, ...execs].map((process) => {
      const { pid, status, termination } = process;
      const exit = termination?.status ?? "-";
      return `task ${id} process ${process.id} pid=${pid} ${status} exit=${exit}`;
    }),
  );
}
