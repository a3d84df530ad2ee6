import { describe, expect, test } from "bun:test";
import type { Host } from "../../src/debug/host/shims.ts";
import { findTarget } from "../../src/debug/host/target.ts";
import { Refusal } from "../../src/debug/refusal.ts";
import { bundleOf, processOf, shimOf } from "./host.ts";

const host: Host = {
  processes: new Map(),
  strayBundles: [],
  shims: [
    shimOf(),
    shimOf({
      process: processOf({ pid: 200 }),
      namespace: "k8s.io",
      id: "pod1",
      socket: "/run/containerd/s/def",
      bundles: [
        bundleOf({ id: "pod1", namespace: "k8s.io", initPid: 201, path: "/x/k8s.io/pod1" }),
        bundleOf({
          id: "webserver",
          namespace: "k8s.io",
          initPid: 202,
          path: "/x/k8s.io/webserver",
        }),
      ],
    }),
    shimOf({ process: processOf({ pid: 300 }), namespace: "other", id: "web", bundles: [] }),
  ],
};

describe("findTarget()", () => {
  test.each([
    ["pod1", undefined, "k8s.io/pod1"],
    ["webs", undefined, "k8s.io/webserver"],
    ["k8s.io/webserver", undefined, "k8s.io/webserver"],
    ["default/web", undefined, "default/web"],
    ["web", "other", "other/web"],
    ["unix:///run/containerd/s/def", undefined, "k8s.io/pod1"],
    ["200", undefined, "k8s.io/pod1"],
    ["202", undefined, "k8s.io/webserver"],
    ["300", undefined, "other/web"],
  ])("%s in namespace %s is %s", (word, namespace, name) => {
    const found = findTarget(host, word, { namespace });
    expect(`${found.namespace}/${found.id}`).toBe(name);
  });

  test.each([
    ["web", "may be default/web or other/web", 2],
    ["nothing", "No container or shim", 3],
    ["999", "No container or shim", 3],
  ])("%s is refused: %s", (word, message, exitCode) => {
    const find = () => findTarget(host, word);
    expect(find).toThrow(message);
    try {
      find();
    } catch (error) {
      expect(error).toBeInstanceOf(Refusal);
      expect(error).toMatchObject({ exitCode });
    }
  });
});
