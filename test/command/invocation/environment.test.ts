import { describe, expect, test } from "bun:test";
import {
  inheritanceEntries,
  parseEnvironment,
} from "../../../src/command/invocation/environment.ts";

describe("parseEnvironment()", () => {
  test("the variables of containerd 1.6 leave the later ones undefined", () => {
    expect(parseEnvironment({ TTRPC_ADDRESS: "/t", GOMAXPROCS: "2" })).toMatchObject({
      ttrpcAddress: "/t",
      grpcAddress: "",
      namespace: undefined,
      maxShimVersion: undefined,
      isCoreScheduled: false,
      deadlines: "",
      protocol: "",
    });
  });

  test("the variables of containerd 1.7 and later are taken", () => {
    const variables = {
      TTRPC_ADDRESS: "/t",
      GRPC_ADDRESS: "/g",
      NAMESPACE: "n",
      MAX_SHIM_VERSION: "2",
      SCHED_CORE: "1",
      WEDGE_DEADLINES: "kill=5s",
      WEDGE_PROTOCOL: "grpc",
    };
    expect(parseEnvironment(variables)).toEqual({
      ttrpcAddress: "/t",
      grpcAddress: "/g",
      namespace: "n",
      maxShimVersion: 2,
      isCoreScheduled: true,
      launcher: undefined,
      inheritance: { oomScore: undefined, hasHugePages: undefined },
      deadlines: "kill=5s",
      protocol: "grpc",
      variables,
    });
  });

  test("a version that is no number counts as none", () => {
    expect(parseEnvironment({ MAX_SHIM_VERSION: "x" }).maxShimVersion).toBeUndefined();
  });

  test.each([
    ["3:7", { channel: 3, managerPid: 7, kin: "", isParent: true }],
    ["3:7:c0ffee", { channel: 3, managerPid: 7, kin: "c0ffee", isParent: true }],
    ["3", undefined],
    ["x:7", undefined],
    ["", undefined],
  ])("a launcher named %j", (text, launcher) => {
    expect(parseEnvironment({ WEDGE_LAUNCHER: text }).launcher).toEqual(launcher);
  });

  test.each([
    { oomScore: -998, hasHugePages: true },
    { oomScore: 0, hasHugePages: false },
  ])("what start says of the daemon's children is read back: %j", (inheritance) => {
    const variables = Object.fromEntries(
      inheritanceEntries(inheritance).map((entry) => entry.split("=")),
    );
    expect(parseEnvironment(variables).inheritance).toEqual(inheritance);
  });
});
