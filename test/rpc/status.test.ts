import { describe, expect, test } from "bun:test";
import { status as grpcCodes } from "@grpc/grpc-js";
import { reasons, ShimError } from "../../src/base/error.ts";
import { codeOf, errorOf, reasonOf, statusOf } from "../../src/rpc/status.ts";

describe("codeOf() and reasonOf()", () => {
  test.each(Array.from({ length: 16 }, (_, index) => index + 1))(
    "code %i has a reason of its own",
    (code) => {
      expect(codeOf(reasonOf(code))).toBe(code);
    },
  );

  test.each([...reasons])("%s has gRPC's code", (reason) => {
    const name = reason.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
    expect(grpcCodes[codeOf(reason)]).toBe(name === "CANCELED" ? "CANCELLED" : name);
  });

  test.each([0, -1, 17, 4096, Number.NaN])("code %d, which nobody defined, is unknown", (code) => {
    expect(reasonOf(code)).toBe("unknown");
  });
});

describe("statusOf()", () => {
  test.each([
    { thrown: new ShimError("notFound", "No c"), code: 5, message: "No c: not found" },
    { thrown: new ShimError("notFound", "x: not found"), code: 5, message: "x: not found" },
    { thrown: new ShimError("alreadyExists", "id a"), code: 6, message: "id a: already exists" },
    { thrown: new Error("odd"), code: 2, message: "odd" },
    { thrown: AbortSignal.abort().reason, code: 1, message: "The operation was aborted." },
    { thrown: new DOMException("late", "TimeoutError"), code: 4, message: "late" },
    { thrown: "text", code: 2, message: "text" },
    { thrown: undefined, code: 2, message: "undefined" },
  ])("$message becomes code $code", ({ thrown, code, message }) => {
    expect(statusOf(thrown)).toEqual({ code, message });
  });
});

describe("errorOf()", () => {
  test("turns a status back into what was thrown", () => {
    const error = errorOf(statusOf(new ShimError("alreadyExists", "id a")));
    expect(error).toBeInstanceOf(ShimError);
    expect(error.reason).toBe("alreadyExists");
    expect(error.message).toBe("id a");
  });
});
