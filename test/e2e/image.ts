/**
 * Container images for the tests, made from the system's static busybox: nothing is pulled.
 *
 * One layer and as many image configs as asked for, as an OCI image layout in a tar archive, which
 * `ctr images import` reads.
 */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const BLOCK = 512;
const TAR_DIRECTORY = "5";
const TAR_SYMLINK = "2";
const TAR_FILE = "0";
const BUSYBOX_PATHS = ["/bin/busybox", "/usr/bin/busybox"];

export interface ImageConfig {
  /** The full reference under which containerd lists it. */
  readonly name: string;
  /** As in the image config's `User`, `uid:gid`; absent is root. */
  readonly user?: string;
  /** What it runs unless told otherwise; a shell by default. */
  readonly command?: readonly string[];
}

interface TarEntry {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly owner?: number;
  readonly link?: string;
  readonly content?: Uint8Array;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** The images as one tar archive. Throws when busybox-static is not installed. */
export function busyboxArchive(images: readonly ImageConfig[]): Uint8Array {
  const layer = busyboxRoot();
  const blobs = new Map<string, Uint8Array>();
  const keep = (mediaType: string, content: Uint8Array): Descriptor => {
    const digest = sha256(content);
    blobs.set(digest, content);
    return { mediaType, digest: `sha256:${digest}`, size: content.length };
  };
  const layerDescriptor = keep("application/vnd.oci.image.layer.v1.tar", layer);
  const manifests = images.map((image) => {
    const config = keep(
      "application/vnd.oci.image.config.v1+json",
      json({
        architecture: process.arch === "arm64" ? "arm64" : "amd64",
        os: "linux",
        config: {
          Cmd: image.command ?? ["/bin/sh"],
          Env: ["PATH=/bin"],
          WorkingDir: "/",
          ...(image.user === undefined ? {} : { User: image.user }),
        },
        rootfs: { type: "layers", diff_ids: [layerDescriptor.digest] },
      }),
    );
    const manifest = keep(
      "application/vnd.oci.image.manifest.v1+json",
      json({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        config,
        layers: [layerDescriptor],
      }),
    );
    return { ...manifest, annotations: { "io.containerd.image.name": image.name } };
  });
  return tar([
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", json({ schemaVersion: 2, manifests })),
    ...[...blobs].map(([digest, content]) => file(`blobs/sha256/${digest}`, content)),
  ]);
}

/** The root file system of the images as a tar archive, as `docker import` takes it. */
export function busyboxRoot(): Uint8Array {
  return tar(layerEntries());
}

function layerEntries(): TarEntry[] {
  const busybox = readBusybox();
  const directories = ["bin", "dev", "etc", "home", "proc", "root", "sys", "var"];
  return [
    ...directories.map((name) => ({ name: `${name}/`, type: TAR_DIRECTORY, mode: 0o755 })),
    { name: "tmp/", type: TAR_DIRECTORY, mode: 0o1777 },
    { name: "home/user/", type: TAR_DIRECTORY, mode: 0o755, owner: 1000 },
    { name: "bin/busybox", type: TAR_FILE, mode: 0o755, content: busybox.program },
    ...busybox.applets.map((applet) => ({
      name: `bin/${applet}`,
      type: TAR_SYMLINK,
      mode: 0o777,
      link: "busybox",
    })),
    file(
      "etc/passwd",
      text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"),
    ),
    file("etc/group", text("root:x:0:\nuser:x:1000:\n")),
  ];
}

function readBusybox(): { readonly program: Uint8Array; readonly applets: readonly string[] } {
  for (const path of BUSYBOX_PATHS) {
    const list = spawnSync(path, ["--list"], { encoding: "utf8" });
    if (list.status !== 0) continue;
    const applets = list.stdout.split("\n").filter((name) => name !== "" && name !== "busybox");
    return { program: readFileSync(path), applets };
  }
  throw new Error(
    "Cannot make an image: busybox is not installed (apt-get install busybox-static)",
  );
}

function file(name: string, content: Uint8Array): TarEntry {
  return { name, type: TAR_FILE, mode: 0o644, content };
}

/** A POSIX ustar archive; names are at most 100 bytes. */
function tar(entries: readonly TarEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    parts.push(tarHeader(entry));
    if (entry.content === undefined) continue;
    parts.push(entry.content);
    parts.push(new Uint8Array((BLOCK - (entry.content.length % BLOCK)) % BLOCK));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return Buffer.concat(parts);
}

function tarHeader(entry: TarEntry): Uint8Array {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, width: number) =>
    header.write(`${value.toString(8).padStart(width - 1, "0")}\0`, offset);
  header.write(entry.name, 0, 100);
  octal(entry.mode, 100, 8);
  octal(entry.owner ?? 0, 108, 8);
  octal(entry.owner ?? 0, 116, 8);
  octal(entry.content?.length ?? 0, 124, 12);
  octal(0, 136, 12);
  header.write("        ", 148);
  header.write(entry.type, 156);
  header.write(entry.link ?? "", 157, 100);
  header.write("ustar\0", 257);
  header.write("00", 263);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

function sha256(content: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(content).digest("hex");
}

function json(value: unknown): Uint8Array {
  return text(JSON.stringify(value));
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
