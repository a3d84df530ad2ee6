/** Everything that is read as text: each parser gives a value or a refusal in words. */

import { strict as assert } from "node:assert";
import { parseSpec } from "../../../src/bundle/spec.ts";
import { parseInvocation } from "../../../src/command/invocation/invocation.ts";
import { parseMountInfo } from "../../../src/linux/mountinfo.ts";
import { parseMountOptions } from "../../../src/rootfs/mount-option.ts";
import {
  commonDirectory,
  compactLayers,
  joinLayers,
  splitLayers,
} from "../../../src/rootfs/overlay-option.ts";
import { kindOf } from "../../../src/runtime/error.ts";
import { parseLastError } from "../../../src/runtime/log.ts";
import { parseTarget } from "../../../src/stdio/uri.ts";
import { bytes, type FuzzTarget, text, unlessRefused } from "../target.ts";

const JSON_WORDS = [
  ...['"', "{", "}", "[", "]", ":", ",", "null", "true", "-1", "1e999", "\\u0000", "\\ud800"],
  ...['"__proto__":', '"pid"', '"type"', '"path":""', '"terminal":1', "[[", '{"a":', "\0"],
];

export const specTarget: FuzzTarget = {
  name: "spec",
  seeds: [
    JSON.stringify({
      ociVersion: "1.0.2",
      process: { terminal: true, args: ["sh"], consoleSize: { width: 80, height: 24 } },
      root: { path: "rootfs" },
      linux: { namespaces: [{ type: "pid" }, { type: "network", path: "/x" }] },
      annotations: { "io.kubernetes.cri.sandbox-id": "s" },
    }),
    JSON.stringify({ linux: { namespaces: [{ type: "pid", path: "/proc/1/ns/pid" }] } }),
    "{}",
  ].map(bytes),
  words: JSON_WORDS,
  run(input) {
    const spec = unlessRefused(() => parseSpec(text(input), "config.json"));
    if (spec === undefined) return;
    assert.equal(typeof spec.hasOwnPidNamespace, "boolean");
    for (const [name, value] of spec.annotations) assert.equal(typeof (name + value), "string");
    if (spec.consoleSize !== undefined) assert.ok(spec.consoleSize.columns > 0);
  },
};

export const mountTarget: FuzzTarget = {
  name: "mount",
  seeds: [
    "lowerdir=/a/1:/a/2:/a/3,upperdir=/a/u,workdir=/a/w,index=off",
    "rbind,ro,rprivate,uidmap=0:1000:10,gidmap=0:1000:10",
    "loop,direct-io,ro,X-containerd.mkdir.path=/x",
    "lowerdir=/x\\:y:/z::/data,volatile",
    "nosuid,nodev,noexec,relatime,shared,slave,unbindable",
  ].map(bytes),
  words: [",", ":", "::", "\\", "\\:", "lowerdir=", "uidmap=", "gidmap=", "0:0:4294967295", "\0"],
  run(input) {
    const options = text(input).split(",");
    const parsed = unlessRefused(() => parseMountOptions(options));
    if (parsed !== undefined) assert.ok(Number.isInteger(parsed.flags));
    const layers = splitLayers(options);
    if (layers === undefined) return;
    const joined = splitLayers([joinLayers(layers.lower, layers.dataOnly)]);
    if (layers.lower.length > 0) assert.deepEqual(joined?.lower, layers.lower);
    const directory = commonDirectory(layers.lower);
    if (directory !== undefined) assert.ok(directory.startsWith("/") && directory !== "/");
    compactLayers(layers);
  },
};

export const uriTarget: FuzzTarget = {
  name: "uri",
  seeds: [
    "/run/containerd/fifo/1/c-stdout",
    "file:///var/log/c.log",
    "file:///var/log/c.log?format=cri&max-size=10m&max-files=3",
    "binary:///usr/bin/logger?key=value&other=x",
    "binary-v2:///usr/bin/logger?a=%20b",
  ].map(bytes),
  words: ["%", "%zz", "://", "file:", "binary:", "?", "&", "=", "#", "//", "..", "%00", "\0"],
  run(input) {
    const target = unlessRefused(() => parseTarget(text(input)));
    if (target !== undefined && target.kind !== "path") assert.ok(target.path.startsWith("/"));
    if (target?.kind !== "file" || target.log === undefined) return;
    assert.ok((target.log.maxBytes ?? 1) > 0 && target.log.maxFiles > 0);
  },
};

export const flagsTarget: FuzzTarget = {
  name: "flags",
  seeds: [
    "-namespace\tns\t-id\tc\t-address\t/c.sock\tstart",
    "--id=c\t-debug=false\t-bundle\t/b\tdelete",
    "-v",
    "-info",
  ].map(bytes),
  words: ["\t", "-", "--", "=", "-id", "-debug", "=maybe", "start", "-h", "\0", "__proto__"],
  run(input) {
    const parsed = parseInvocation("shim", text(input).split("\t"), {});
    assert.ok(
      parsed.kind === "usage" ? parsed.text !== "" : parsed.invocation.action !== undefined,
    );
  },
};

export const runtimeLogTarget: FuzzTarget = {
  name: "runtime-log",
  seeds: [
    '{"level":"error","msg":"container not running","time":"x"}\n',
    '{"level":"ERROR","fields":{"message":"no such process"}}\nnoise\n{"level":"info"}',
  ].map(bytes),
  words: [...JSON_WORDS, "\n", '"level":"error"', "container `x` is not running", "does not exist"],
  run(input) {
    const message = parseLastError(text(input));
    assert.ok(message === undefined || message !== "");
    for (const verb of ["create", "kill", "delete", "exec", "update"] as const)
      kindOf(verb, text(input));
  },
};

export const mountInfoTarget: FuzzTarget = {
  name: "mount-info",
  seeds: [
    "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n",
    "40 36 0:5 / /a\\040b rw shared:2 unbindable - tmpfs tmpfs rw\n",
  ].map(bytes),
  words: [" ", "\n", " - ", "\\040", "shared:", "master:", "\0"],
  run(input) {
    for (const info of parseMountInfo(text(input))) assert.equal(typeof info.mountPoint, "string");
  },
};
