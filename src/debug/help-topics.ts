/** What `shim help` explains beside verbs; the man page has the same texts. */

const EXIT_CODES = `Exit codes

    0  done; for run, exec, attach and wait: the program ended with 0
    1  the runtime or the shim has failed; for doctor: something is broken
    2  what was asked cannot be: a flag, a name, a bundle; nothing was begun
    3  no such container, shim or process
    4  the shim does not answer, or nobody listens at its address
  124  the limit set by --timeout has passed
  128+N  signal N ended the program, or this command; 141 when the reader of its output went away

run, exec, attach and wait pass on the exit code of the container's program, whatever it is: a
message on stderr that begins with "shim:" tells when a code is the command's own.
`;

const NAMES = `How a container is named

Wherever a verb takes a container, it may be given as

  web                   its id, or the beginning of it when no other begins so
  default/web           namespace and id
  unix:///run/...       the address of its shim
  /srv/bundles/web      its bundle
  4711                  the pid of its shim, or of its init

Ids are looked for in all namespaces; --namespace narrows that. Nothing is asked of a manager: shims
are found by their processes, sockets and bundles.
`;

/** By name. */
export const TOPICS: ReadonlyMap<string, string> = new Map([
  ["exit-codes", EXIT_CODES],
  ["names", NAMES],
]);
