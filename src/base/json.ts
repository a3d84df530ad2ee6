/** Inspecting JSON that others have written, of which nothing is certain. */

/** The document in `text`; undefined when there is no text, or it is not JSON. */
export function parseJson(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The member `name` of an object in the document; undefined when it has none or is not an object. */
export function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}

/** {@link member} where it is a number. */
export function numberMember(value: unknown, name: string): number | undefined {
  const found = member(value, name);
  return typeof found === "number" ? found : undefined;
}

/** {@link member} where it is non-empty text. */
export function textMember(value: unknown, name: string): string | undefined {
  const found = member(value, name);
  return typeof found === "string" && found !== "" ? found : undefined;
}
