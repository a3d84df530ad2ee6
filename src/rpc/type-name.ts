/** Which message an Any holds (google/protobuf/any.proto). */

/** The full name of the message: the part of the URL after the last slash, as clients put various hosts before it, or none. */
export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
}
