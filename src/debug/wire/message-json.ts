/**
 * Messages of the known services as JSON and back, by the descriptors of `proto/`.
 *
 * Field names are lowerCamelCase, 64-bit integers strings or numbers, bytes base64, enums by name, as in
 * protobuf's JSON mapping. An Any is an object with "@type": its fields if the message is known here, the
 * JSON that it carries under "value" (an OCI process, resources, features), or else base64.
 */

import {
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Registry,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { messageOf } from "../../base/error.ts";
import { descriptors } from "../../gen/descriptors.ts";
import { typeNameOf } from "../../rpc/type-name.ts";
import { usageError } from "../refusal.ts";

const ANY = "google.protobuf.Any";
/** Any under a name of our own, which libraries do not confuse with the one that they refuse when it is unknown. */
const PLAIN_ANY = "wedge.json.Any";
const TYPE_KEY = "@type";

/** The services, methods and messages of `proto/`. */
export class MessageJson {
  readonly #registry: Registry;
  readonly services: readonly DescService[];

  constructor() {
    const set = fromBinary(FileDescriptorSetSchema, Buffer.from(descriptors, "base64"));
    this.#registry = createFileRegistry(withPlainAny(set));
    this.services = [...this.#registry].filter((each) => each.kind === "service");
  }

  /** The method named `Service/Method`, the service by its full name or a suffix of it. All that match. */
  findMethods(word: string): readonly DescMethod[] {
    const at = word.lastIndexOf("/");
    const [service, name] = at < 0 ? ["", word] : [word.slice(0, at), word.slice(at + 1)];
    const isMeant = ({ typeName }: DescService) =>
      service === "" || typeName === service || typeName.endsWith(`.${service}`);
    return this.services
      .filter(isMeant)
      .flatMap(({ methods }) => methods)
      .filter((method) => method.name.toLowerCase() === name.toLowerCase());
  }

  /** The method of exactly these names; undefined if it is not one of ours. */
  method(service: string, name: string): DescMethod | undefined {
    return this.services
      .find(({ typeName }) => typeName === service)
      ?.methods.find((method) => method.name === name);
  }

  /** Throws a Refusal that names the field that cannot be used. */
  encode(message: DescMessage, json: JsonValue): Uint8Array {
    try {
      return toBinary(message, fromJson(message, this.#packAnys(json)));
    } catch (cause) {
      throw usageError(`Cannot make a ${message.typeName} of this JSON: ${messageOf(cause)}`, {
        cause,
      });
    }
  }

  /** All fields, or only those that differ from their default. Throws for bytes that are not such a message. */
  decode(message: DescMessage, bytes: Uint8Array, fields: "all" | "set" = "set"): JsonValue {
    const options = { alwaysEmitImplicit: fields === "all" };
    return this.#unpackAnys(toJson(message, fromBinary(message, bytes), options));
  }

  /** What an Any holds, as {@link decode} would return it. */
  decodeAny(typeUrl: string, value: Uint8Array): JsonObject {
    const message = this.#registry.getMessage(typeNameOf(typeUrl));
    const fields = message === undefined ? undefined : this.#tryDecode(message, value);
    if (isObject(fields)) return { [TYPE_KEY]: typeUrl, ...fields };
    return {
      [TYPE_KEY]: typeUrl,
      value: parseJson(value) ?? Buffer.from(value).toString("base64"),
    };
  }

  #tryDecode(message: DescMessage, bytes: Uint8Array): JsonValue | undefined {
    try {
      return this.decode(message, bytes);
    } catch {
      return undefined; // Bytes of another message under this name: shown as they are.
    }
  }

  #unpackAnys(json: JsonValue): JsonValue {
    if (Array.isArray(json)) return json.map((each) => this.#unpackAnys(each));
    if (!isObject(json)) return json;
    const { typeUrl, value = "", ...others } = json;
    const isAny = typeof typeUrl === "string" && Object.keys(others).length === 0;
    if (isAny && typeof value === "string") {
      return this.decodeAny(typeUrl, Buffer.from(value, "base64"));
    }
    return mapValues(json, (each) => this.#unpackAnys(each));
  }

  #packAnys(json: JsonValue): JsonValue {
    if (Array.isArray(json)) return json.map((each) => this.#packAnys(each));
    if (!isObject(json)) return json;
    const { [TYPE_KEY]: typeUrl, ...fields } = json;
    if (typeof typeUrl !== "string") return mapValues(json, (each) => this.#packAnys(each));
    const value = Buffer.from(this.#anyValue(typeUrl, fields)).toString("base64");
    return { typeUrl, value };
  }

  #anyValue(typeUrl: string, fields: JsonObject): Uint8Array {
    const message = this.#registry.getMessage(typeNameOf(typeUrl));
    if (message !== undefined) return this.encode(message, fields);
    const { value } = fields;
    if (typeof value === "string") return Buffer.from(value, "base64");
    return Buffer.from(JSON.stringify(value ?? {}));
  }
}

/** Renames Any, and everything that mentions it. */
function withPlainAny(set: FileDescriptorSet): FileDescriptorSet {
  for (const file of set.file) {
    if (file.name === "google/protobuf/any.proto") file.package = "wedge.json";
    for (const field of file.messageType.flatMap((message) => message.field)) {
      if (field.typeName === `.${ANY}`) field.typeName = `.${PLAIN_ANY}`;
    }
  }
  return set;
}

function parseJson(bytes: Uint8Array): JsonValue | undefined {
  try {
    const value: JsonValue = JSON.parse(Buffer.from(bytes).toString());
    return isObject(value) || Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function mapValues(json: JsonObject, change: (value: JsonValue) => JsonValue): JsonObject {
  return Object.fromEntries(Object.entries(json).map(([key, value]) => [key, change(value)]));
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
