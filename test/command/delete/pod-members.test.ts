import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPodMembers } from "../../../src/command/delete/pod-members.ts";

/** A directory of bundles and a runtime's root, both empty. */
class Place implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "wedge-members-"));
  readonly root = join(this.path, "root");

  bundle(id: string): string {
    const path = join(this.path, "bundles", id);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** What containerd 2 writes for a container of a pod. */
  mark(id: string, sandbox: string): void {
    writeFileSync(join(this.bundle(id), "sandbox"), sandbox);
  }

  /** What runc writes for any container. */
  note(id: string, labels: readonly string[]): void {
    mkdirSync(join(this.root, id), { recursive: true });
    writeFileSync(join(this.root, id, "state.json"), JSON.stringify({ id, config: { labels } }));
  }

  members(id: string): readonly string[] {
    return readPodMembers(this.bundle(id), this.root, id);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

test("members are marked in their bundle, or annotated in the runtime's state when it is gone", () => {
  using place = new Place();
  place.mark("a", "pod");
  place.note("b", ["bundle=/x", "io.kubernetes.cri.sandbox-id=pod"]);
  place.mark("both", "pod\n");
  place.note("both", ["io.kubernetes.cri.sandbox-id=pod"]);
  expect([...place.members("pod")].sort()).toEqual(["a", "b", "both"]);
});

test("the sandbox itself, other pods and those of no pod are none", () => {
  using place = new Place();
  place.note("pod", ["io.kubernetes.cri.sandbox-id=pod"]);
  place.mark("c", "pod2");
  place.note("d", ["io.kubernetes.cri.sandbox-id=pod2", "io.kubernetes.cri.sandbox-id2=pod"]);
  place.note("e", []);
  place.bundle("f");
  mkdirSync(join(place.root, "g"));
  writeFileSync(join(place.root, "g", "state.json"), "{");
  expect(place.members("pod")).toEqual([]);
});

test("without bundles and without a runtime's root there are none", () => {
  expect(readPodMembers("/no/such/bundle", "/no/such/root", "pod")).toEqual([]);
});
