/** What `shim metrics` reports about a host, as families of samples. Pure. */

import type { InspectResponse } from "../gen/wedge/inspect/v1/inspect.ts";
import type { Figures } from "./host/figures.ts";
import type { ProcessMemory } from "./host/process-memory.ts";
import type { HostShim } from "./host/shims.ts";
import type { Row } from "./host/survey.ts";
import type { Family, Sample } from "./output/openmetrics.ts";

const MS_PER_SECOND = 1000;

/** A shim with its figures. */
export interface MeasuredShim {
  readonly shim: HostShim;
  readonly memory: ProcessMemory | undefined;
  /** Undefined when it was not asked, or cannot tell. */
  readonly answer: InspectResponse | undefined;
}

export interface MeasuredContainer {
  readonly row: Row;
  readonly figures: Figures | undefined;
}

export interface Measured {
  readonly shims: readonly MeasuredShim[];
  readonly containers: readonly MeasuredContainer[];
  readonly strayBundles: number;
}

/** All families, in a fixed order. */
export function toFamilies({ shims, containers, strayBundles }: Measured): readonly Family[] {
  return [
    ...shimFamilies(shims),
    ...answerFamilies(shims),
    ...containerFamilies(containers),
    {
      name: "shim_stray_bundles",
      type: "gauge",
      help: "Bundles of managers on this host whose shim does not run.",
      samples: [{ labels: {}, value: strayBundles }],
    },
  ];
}

type Tell<Item> = (item: Item) => number | undefined;

function shimFamilies(shims: readonly MeasuredShim[]): readonly Family[] {
  const of = (tell: Tell<MeasuredShim>) => collect(shims, shimLabels, tell);
  return [
    {
      name: "shim_info",
      type: "gauge",
      help: "A shim that runs; the value is always 1.",
      samples: collect(
        shims,
        (item) => ({ ...shimLabels(item), kind: item.shim.kind }),
        () => 1,
      ),
    },
    {
      name: "shim_start_time_seconds",
      type: "gauge",
      unit: "seconds",
      help: "When the shim was started, since the epoch.",
      samples: of(({ shim }) => Math.round(shim.process.startedAtMs) / MS_PER_SECOND),
    },
    {
      name: "shim_cpu_seconds",
      type: "counter",
      unit: "seconds",
      help: "User and system time of the shim itself.",
      samples: of(({ shim }) => shim.process.cpuMs / MS_PER_SECOND),
    },
    {
      name: "shim_memory_pss_bytes",
      type: "gauge",
      unit: "bytes",
      help: "Memory of the shim, pages that it shares counted by its share.",
      samples: of(({ memory }) => memory?.pss),
    },
    {
      name: "shim_memory_private_bytes",
      type: "gauge",
      unit: "bytes",
      help: "Memory that would be free without the shim.",
      samples: of(({ memory }) => memory?.private),
    },
    {
      name: "shim_connections",
      type: "gauge",
      help: "Clients that are connected to the shim.",
      samples: of(({ shim }) => shim.connections),
    },
    {
      name: "shim_asleep",
      type: "gauge",
      help: "Whether the shim sleeps: 1 or 0.",
      samples: of(({ shim }) => Number(shim.isAsleep)),
    },
  ];
}

/** For the shims that were asked. */
function answerFamilies(shims: readonly MeasuredShim[]): readonly Family[] {
  const of = (tell: (answer: InspectResponse) => bigint | number | undefined) =>
    collect(shims, shimLabels, ({ answer }) => {
      const value = answer && tell(answer);
      return value === undefined ? undefined : Number(value);
    });
  return [
    {
      name: "shim_calls_in_flight",
      type: "gauge",
      help: "Calls that the shim works on, open waits included.",
      samples: of(({ calls }) => calls.length),
    },
    {
      name: "shim_events_pending",
      type: "gauge",
      help: "Events that the manager has not taken yet.",
      samples: of(({ journal }) => journal?.pending),
    },
    {
      name: "shim_events_dropped",
      type: "counter",
      help: "Events that were given up because the journal was full.",
      samples: of(({ journal }) => journal?.dropped),
    },
    {
      name: "shim_log_lines_waiting_lost",
      type: "gauge",
      help: "Log lines lost since the last one that was written.",
      samples: of(({ log }) => log?.dropped),
    },
    {
      name: "shim_output_lost_bytes",
      type: "gauge",
      unit: "bytes",
      help: "Output of existing processes that could not be written and is lost.",
      samples: of(({ containers }) =>
        containers
          .flatMap(({ processes }) => processes)
          .reduce((sum, { droppedBytes }) => sum + droppedBytes, 0n),
      ),
    },
  ];
}

function containerFamilies(containers: readonly MeasuredContainer[]): readonly Family[] {
  const of = (tell: Tell<MeasuredContainer>) => collect(containers, containerLabels, tell);
  return [
    {
      name: "shim_container_info",
      type: "gauge",
      help: "A container with its pod and its status; the value is always 1.",
      samples: collect(
        containers,
        (item) => ({
          ...containerLabels(item),
          pod: item.row.bundle?.pod,
          status: item.row.state?.status ?? "empty",
        }),
        () => 1,
      ),
    },
    {
      name: "shim_container_exit_status",
      type: "gauge",
      help: "How a stopped container ended, where its shim keeps a record.",
      samples: of(({ row }) => row.state?.exit?.exitStatus),
    },
    {
      name: "shim_container_processes",
      type: "gauge",
      help: "Processes in the container's cgroup.",
      samples: of(({ row }) => row.state?.pids.length),
    },
    ...figureFamilies(containers),
  ];
}

/** What the kernel accounts to a container. */
function figureFamilies(containers: readonly MeasuredContainer[]): readonly Family[] {
  const figure = (tell: Tell<Figures>) =>
    collect(containers, containerLabels, ({ figures }) => figures && tell(figures));
  return [
    {
      name: "shim_container_cpu_seconds",
      type: "counter",
      unit: "seconds",
      help: "CPU time of the container.",
      samples: figure(({ cpuMs }) => (cpuMs === undefined ? undefined : cpuMs / MS_PER_SECOND)),
    },
    {
      name: "shim_container_memory_bytes",
      type: "gauge",
      unit: "bytes",
      help: "Memory accounted to the container, page cache included.",
      samples: figure(({ memoryBytes }) => memoryBytes),
    },
    {
      name: "shim_container_memory_working_set_bytes",
      type: "gauge",
      unit: "bytes",
      help: "The same without the page cache that is given back first.",
      samples: figure(({ workingSetBytes }) => workingSetBytes),
    },
    {
      name: "shim_container_memory_limit_bytes",
      type: "gauge",
      unit: "bytes",
      help: "Its limit; absent for none.",
      samples: figure(({ memoryLimitBytes }) => memoryLimitBytes),
    },
    {
      name: "shim_container_oom_kills",
      type: "counter",
      help: "Processes that the kernel killed for want of memory.",
      samples: figure(({ oomKills }) => oomKills),
    },
    {
      name: "shim_container_read_bytes",
      type: "counter",
      unit: "bytes",
      help: "Bytes read from block devices.",
      samples: figure(({ readBytes }) => readBytes),
    },
    {
      name: "shim_container_written_bytes",
      type: "counter",
      unit: "bytes",
      help: "Bytes written to block devices.",
      samples: figure(({ writtenBytes }) => writtenBytes),
    },
  ];
}

function collect<Item>(
  items: readonly Item[],
  labelsOf: (item: Item) => Sample["labels"],
  tell: Tell<Item>,
): readonly Sample[] {
  return items.flatMap((item) => {
    const value = tell(item);
    return value === undefined ? [] : [{ labels: labelsOf(item), value }];
  });
}

function shimLabels({ shim }: MeasuredShim): Sample["labels"] {
  return { namespace: shim.namespace, shim: shim.id };
}

function containerLabels({ row }: MeasuredContainer): Sample["labels"] {
  return { namespace: row.namespace, id: row.id, shim: row.shim.id };
}
