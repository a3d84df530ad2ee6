import { describe, expect, test } from "bun:test";
import { findSocketPath, parseSocketPath } from "../../src/bundle/address.ts";

describe("parseSocketPath()", () => {
  test.each([
    ["unix:///run/s/a", "/run/s/a"],
    ["/run/s/a", "/run/s/a"],
    ["", undefined],
    ["vsock://3:10", undefined],
    ["run/s/a", undefined],
  ])("%j is %j", (address, path) => {
    expect(parseSocketPath(address)).toBe(path);
  });
});

describe("findSocketPath()", () => {
  const noted = (address: unknown) => JSON.stringify({ version: 3, address, protocol: "ttrpc" });

  test.each<[what: string, files: Record<string, string>, path: string | undefined]>([
    ["reads the address alone", { address: "unix:///s\n" }, "/s"],
    ["reads containerd 2's note alone", { "bootstrap.json": noted("unix:///n") }, "/n"],
    [
      "takes the note first, as containerd does",
      { "bootstrap.json": noted("unix:///n"), address: "unix:///s" },
      "/n",
    ],
    ["passes over a damaged note", { "bootstrap.json": "{", address: "unix:///s" }, "/s"],
    [
      "passes over a note without a socket",
      { "bootstrap.json": noted(7), address: "unix:///s" },
      "/s",
    ],
    ["finds nothing where there is nothing", {}, undefined],
  ])("%s", (_what, files, path) => {
    expect(findSocketPath((name) => files[name])).toBe(path);
  });
});
