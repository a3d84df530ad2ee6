/** The runtime handlers that the tests' containerd is configured with. */

import type { CriHandler } from "../daemon-config.ts";

export const HANDLERS: Readonly<Record<string, CriHandler>> = {
  runc: { runtimeType: "io.containerd.runc.v2" },
  wedge: { runtimeType: "io.containerd.wedge.v2" },
};
