/**
 * JSON that passes every number on as it was written. A JavaScript number holds 53 bits exactly; one that
 * means "no limit" has 64, and would reach the next program as another, which refuses it.
 */

// The engine has these (ECMAScript's source text access), though its types do not say so.
declare global {
  interface JSON {
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown;
    rawJSON(text: string): object;
    isRawJSON(value: unknown): boolean;
  }
}

/**
 * Parses `text`; each number in it is replaced by an object that JSON.stringify writes as the number was
 * written. For documents that are changed and passed on. Throws SyntaxError.
 */
export function parseExactly(text: string): unknown {
  const document = JSON.parse(text, (_key, value, { source }) =>
    typeof value === "number" && source !== undefined ? JSON.rawJSON(source) : value,
  );
  // A document that is itself a number must not be taken for an object.
  return JSON.isRawJSON(document) ? JSON.parse(text) : document;
}
