/**
 * One end of a stream that CRI's streaming server offers: `bun stream-client.ts URL [COLUMNS ROWS]`.
 *
 * A program of its own, as the server listens in the network of the daemon alone. It speaks Kubernetes'
 * channel protocol over a WebSocket: the first byte of each message names the stream. Its exit code is
 * that of the command.
 */

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const STATUS = 3;
const RESIZE = 4;

const [url = "", columns, rows] = process.argv.slice(2);
const socket = new WebSocket(url.replace("http:", "ws:"), ["v4.channel.k8s.io"]);
socket.binaryType = "arraybuffer";

function send(channel: number, bytes: Uint8Array): void {
  socket.send(Buffer.concat([Uint8Array.of(channel), bytes]));
}

/** `{"status":"Success"}`, or a failure that has the exit code among its causes. */
function exitCodeOf(status: string): number {
  if (status.includes('"Success"')) return 0;
  return Number(/"ExitCode","message":"(\d+)"/.exec(status)?.[1] ?? 255);
}

let exitCode = 0;
socket.onopen = async () => {
  if (columns !== undefined && rows !== undefined) {
    const size = { Width: Number(columns), Height: Number(rows) };
    send(RESIZE, Buffer.from(JSON.stringify(size)));
  }
  for await (const chunk of Bun.stdin.stream()) send(STDIN, chunk);
};
socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
  const [channel] = new Uint8Array(data, 0, 1);
  const bytes = Buffer.from(data, 1);
  if (channel === STDOUT) process.stdout.write(bytes);
  if (channel === STDERR) process.stderr.write(bytes);
  if (channel === STATUS && bytes.length > 0) exitCode = exitCodeOf(bytes.toString());
};
socket.onerror = () => process.exit(254);
socket.onclose = () => process.exit(exitCode);
