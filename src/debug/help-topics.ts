/** What `shim help` explains besides verbs; the man page has the same texts. */

const EXIT_CODES = `Exit codes

    0  done; for run, exec, attach and wait: the program ended with 0
    1  the runtime or the shim failed; for doctor: something is broken
    2  the request is not valid: a flag, a name, a bundle; nothing was begun
    3  no such container, shim or process
    4  the shim does not answer, or nobody listens at its address
  124  the limit set by --timeout has passed
  128+N  signal N ended the program, or this command; 141 when the reader of its output went away

run, exec, attach and wait pass on the exit code of the container's program, whatever it is: if a
code is the command's own, a message on stderr begins with "shim:".
`;

const NAMES = `How a container is named

Wherever a verb takes a container, this may be

  web                   its id, or a unique prefix of it
  default/web           namespace and id
  unix:///run/...       the address of its shim
  /srv/bundles/web      its bundle
  4711                  the pid of its shim, or of its init

Ids are looked up in all namespaces; --namespace narrows that. No manager is asked: shims are found
by their processes, sockets and bundles.
`;

/** By name. */
export const TOPICS: ReadonlyMap<string, string> = new Map([
  ["exit-codes", EXIT_CODES],
  ["names", NAMES],
]);
