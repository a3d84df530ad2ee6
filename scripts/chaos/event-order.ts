/**
 * What the events of one container must be, whatever went wrong: each once, in the order of its life,
 * with the statuses with which its processes ended.
 *
 * An event is sent until containerd has taken it. So a containerd that is killed may have taken one
 * without acknowledging it, and gets it again after its restart; and it may have taken some that it then
 * passed on to nobody. Both happen only at the kill: what follows is neither doubled nor missing.
 */

/** One line of `ctr events` about a task. */
export interface SeenEvent {
  /** Without `/tasks/`. */
  readonly topic: string;
  readonly containerId: string;
  /** Of an exec; the empty string for the container's init. */
  readonly execId: string;
  readonly exitStatus: number;
  /** When it happened, as its sender says; milliseconds since the epoch. */
  readonly atMs: number;
}

/** What is known of the container from its clients. */
export interface Expectation {
  readonly id: string;
  /** Its client was told that it runs. */
  readonly wasStarted: boolean;
  readonly exitCode: number;
  /** By exec id. */
  readonly execCodes: ReadonlyMap<string, number>;
  /** How often containerd was killed meanwhile. */
  readonly kills: number;
}

const INIT = ["create", "start", "exit", "delete"] as const;
const EXEC = ["exec-added", "exec-started", "exit"] as const;
const SIGKILLED = 137;

/** The task events in the output of `ctr events`. A truncated line does not count. */
export function parseEvents(output: string): SeenEvent[] {
  return [...output.matchAll(/^(\S+) (\S+) .* \/tasks\/([\w-]+) (\{.*\})$/gm)].flatMap(
    ([, date, time, topic = "", json = ""]) => {
      const text = (name: string) => new RegExp(`"${name}":"([^"]*)"`).exec(json)?.[1] ?? "";
      const containerId = text("container_id");
      const process = topic === "exit" ? text("id") : text("exec_id");
      const execId = process === containerId ? "" : process;
      const exitStatus = Number(/"exit_status":(\d+)/.exec(json)?.[1] ?? 0);
      const atMs = Date.parse(`${date}T${time}Z`);
      return [{ topic, containerId, execId, exitStatus, atMs }];
    },
  );
}

/** What is wrong with the events of one container, in the order in which they came. */
export function judgeEvents(all: readonly SeenEvent[], expected: Expectation): string[] {
  const events = all.filter(({ containerId }) => containerId === expected.id);
  const places = new Map<string, number>();
  const faults: string[] = [];
  const counts = new Map<string, number>();
  events.forEach((event, place) => {
    const key = keyOf(event.topic, event.execId);
    if (!places.has(key)) places.set(key, place);
    counts.set(key, (counts.get(key) ?? 0) + 1);
    const wrong = wrongStatus(event, expected);
    if (wrong !== undefined) faults.push(wrong);
  });
  for (const [key, count] of counts) {
    if (count > 1 + expected.kills) faults.push(`${key} is told ${count} times`);
  }
  faults.push(...judgeChain(INIT, "", places, expected.wasStarted, expected.kills));
  const last = places.get("exit");
  for (const execId of new Set(events.map((event) => event.execId))) {
    if (execId === "") continue;
    const wasStarted = places.has(keyOf("exec-started", execId));
    faults.push(...judgeChain(EXEC, execId, places, wasStarted, expected.kills));
    const exit = places.get(keyOf("exit", execId));
    if (exit !== undefined && last !== undefined && exit > last) {
      faults.push(`exit ${execId} comes after that of init`);
    }
  }
  const seen = events.map(({ topic, execId }) => keyOf(topic, execId)).join(", ");
  return faults.map((fault) => `${expected.id}: ${fault} [${seen}]`);
}

/** The events of one process: in order and, if it was started, all of them but for a gap at each kill. */
function judgeChain(
  topics: readonly string[],
  execId: string,
  places: ReadonlyMap<string, number>,
  wasStarted: boolean,
  kills: number,
): string[] {
  const faults: string[] = [];
  const keys = topics.map((topic) => keyOf(topic, execId));
  const seen = keys.filter((key) => places.has(key));
  const [first, ...rest] = seen;
  let before = first;
  for (const key of rest) {
    if ((places.get(key) ?? 0) < (places.get(before ?? "") ?? 0)) {
      faults.push(`${key} comes before ${before}`);
    }
    before = key;
  }
  const missing = keys.filter((key) => !places.has(key));
  const gaps = keys.filter(
    (key, place) => !places.has(key) && (place === 0 || places.has(keys[place - 1] ?? "")),
  );
  if (wasStarted && gaps.length > kills) faults.push(`${missing.join(", ")} is not told`);
  return faults;
}

function wrongStatus(event: SeenEvent, expected: Expectation): string | undefined {
  const { topic, execId, exitStatus } = event;
  if (topic !== "exit" && topic !== "delete") return undefined;
  if (execId === "") {
    if (!expected.wasStarted || exitStatus === expected.exitCode) return undefined;
    return `${topic} tells ${exitStatus} instead of ${expected.exitCode}`;
  }
  const code = expected.execCodes.get(execId);
  // One whose container ended first is killed.
  if (exitStatus === code || exitStatus === SIGKILLED) return undefined;
  return `exit ${execId} tells ${exitStatus} instead of ${code}`;
}

function keyOf(topic: string, execId: string): string {
  return execId === "" ? topic : `${topic} ${execId}`;
}
