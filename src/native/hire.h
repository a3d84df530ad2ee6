/*
 * `start` by a spare: a process whose shim has ended, and which waits for another (`command/spare/spare.ts`).
 *
 * A spare listens on a socket of its own in the directory of its kin. Whoever renames the socket has the
 * spare to itself. The spare then says that it is ready: what is lent to a process that is stopped could not
 * be taken back, and the manager waits for end of file on its streams. Then it is sent the command line, with
 * the streams, and answers with the exit code of `start`.
 *
 * Included after kin.h.
 */

#if defined(__x86_64__)
enum {
  FCNTL = 72, SOCKET = 41, CONNECT = 42, SENDMSG = 46, GETEUID = 107, GETDENTS64 = 217, UNLINKAT = 263, RENAMEAT = 264,
  PPOLL = 271
};
#elif defined(__aarch64__)
enum {
  FCNTL = 25, SOCKET = 198, CONNECT = 203, SENDMSG = 211, GETEUID = 175, GETDENTS64 = 61, UNLINKAT = 35, RENAMEAT = 38,
  PPOLL = 73
};
#endif

#define AF_UNIX 1
#define SOCK_SEQPACKET 5
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_NOSIGNAL 0x4000
#define F_GETFD 1
#define AT_REMOVEDIR 0x200
#define AT_EMPTY_PATH 0x1000
#define POLLIN 1
#define O_DIRECTORY_X86 0200000
#define O_DIRECTORY_ARM 040000
#if defined(__x86_64__)
#define O_DIRECTORY O_DIRECTORY_X86
#elif defined(__aarch64__)
#define O_DIRECTORY O_DIRECTORY_ARM
#endif
#define SOCKET_PATH_BYTES 108
/* sendmsg(2) takes no more parts. */
#define PARTS_MAX 1024
/* A healthy spare is ready in a tenth of a millisecond; any other costs this once. */
#define READY_LIMIT_S 1
#define ECONNRESET 104
/* The result when the other end closed without looking at what it was sent, or before the limit was over. */
#define CLOSED -1
#define UNHEARD -2
#define SILENT -3
#define NAME_BYTES 32
/* Streams and working directory. */
#define LENT 4

struct address {
  unsigned short family;
  char path[SOCKET_PATH_BYTES];
};

struct part {
  const void *base;
  long length;
};

struct message {
  void *name;
  unsigned name_length;
  struct part *parts;
  long part_count;
  void *control;
  long control_length;
  int flags;
};

struct rights {
  long length;
  int level, type, descriptors[LENT];
};

/* The beginning of struct linux_dirent64 (getdents(2)). */
struct entry {
  word inode;
  long offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

/* Writes what precedes a descriptor's name in /proc/self/fd, and the name of an entry there. */
static void name_entry(char *path, long folder, const char *name) {
  char digits[20];
  int count = 0;
  for (const char *from = "/proc/self/fd/"; *from;) *path++ = *from++;
  do digits[count++] = '0' + folder % 10;
  while (folder /= 10);
  while (count) *path++ = digits[--count];
  *path++ = '/';
  do *path++ = *name;
  while (*name++);
}

/* Takes the spare of that name from all others and connects to it; negative when it is not available. */
static long claim(long folder, const char *name) {
  struct address address = {AF_UNIX, {0}};
  char taken[NAME_BYTES + 1];
  if (length_of(name) >= NAME_BYTES) return -1;
  taken[0] = '.';
  for (long at = 0; at <= length_of(name); at++) taken[at + 1] = name[at];
  if (call(RENAMEAT, folder, (long)name, folder, (long)taken, 0, 0) != 0) return -1;
  name_entry(address.path, folder, taken);
  long socket = call(SOCKET, AF_UNIX, SOCK_SEQPACKET | O_NONBLOCK | O_CLOEXEC, 0, 0, 0, 0);
  long connected = IS_ERROR(socket) ? socket : call(CONNECT, socket, (long)&address, sizeof(address), 0, 0, 0);
  call(UNLINKAT, folder, (long)taken, 0, 0, 0, 0);
  if (connected == 0) return socket;
  /* It was killed. */
  if (!IS_ERROR(socket)) call(CLOSE, socket, 0, 0, 0, 0, 0);
  return -1;
}

/* Whether the spare of that name, which is its id, lives, and has still been given what this process was. */
static int is_still_kin(long kin, const char *name, word own) {
  char folder[NAME_BYTES + 8];
  long process = 0;
  if (length_of(name) >= NAME_BYTES || !join(folder, "/proc", name)) return 0;
  if (call(FACCESSAT, AT_FDCWD, (long)folder, F_OK, 0, 0, 0) != 0) {
    call(UNLINKAT, kin, (long)name, 0, 0, 0, 0);
    return 0;
  }
  for (; *name; name++) process = 10 * process + (*name - '0');
  return given(folder, process) == own;
}

/* What is lent to a spare, as one message. */
struct loan {
  struct part parts[PARTS_MAX];
  struct rights rights;
  struct message message;
};

/* Whether there is something to lend: a directory, and not too many words. */
static int prepare(struct loan *loan, char **words, const char *manager) {
  long left = SPARE_WORDS_BYTES - length_of(manager) - 1;
  long directory = call(OPENAT, AT_FDCWD, (long)".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
  if (IS_ERROR(directory)) return 0;
  loan->rights = (struct rights){sizeof(loan->rights), SOL_SOCKET, SCM_RIGHTS, {0, 1, 2, directory}};
  loan->message = (struct message){0, 0, loan->parts, 1, &loan->rights, sizeof(loan->rights), 0};
  loan->parts[0] = (struct part){manager, length_of(manager) + 1};
  for (; *words && loan->message.part_count < PARTS_MAX; words++) {
    struct part word = {*words, length_of(*words) + 1};
    loan->parts[loan->message.part_count++] = word;
    left -= word.length;
  }
  if (!*words && left >= 0) return 1;
  call(CLOSE, directory, 0, 0, 0, 0, 0);
  return 0;
}

/* A byte that the spare has sent, or why there is none; `limit` 0 means to wait as long as it takes. */
static int hear(long socket, long *limit) {
  struct {
    int fd;
    short events, happened;
  } watched = {socket, POLLIN, 0};
  unsigned char byte;
  long ready;
  while ((ready = call(PPOLL, (long)&watched, 1, (long)limit, 0, 0, 0)) == -EINTR) continue;
  if (ready == 0) return SILENT;
  long length = call(READ, socket, (long)&byte, 1, 0, 0, 0);
  return length == 1 ? byte : length == -ECONNRESET ? UNHEARD : CLOSED;
}

/* Whether a directory is this user's and nobody else can put anything there. */
static int is_own(long folder) {
  struct facts_of_file facts;
  if (call(STATX, folder, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)&facts, 0) != 0) return 0;
  return facts.uid == call(GETEUID, 0, 0, 0, 0, 0, 0) && !(facts.mode & 077);
}

/* Exits as `start` if this spare does it; returns whether another one is worth trying. */
static int try_spare(long socket, struct loan *loan) {
  long limit[2] = {READY_LIMIT_S, 0};
  int heard = hear(socket, limit);
  if (heard == SPARE_READY && !IS_ERROR(call(SENDMSG, socket, (long)&loan->message, MSG_NOSIGNAL, 0, 0, 0))) {
    int status = hear(socket, 0);
    /* It has not begun what it has not looked at. */
    if (status >= 0 && status != SPARE_REFUSES) leave(status);
    if (status == CLOSED) leave_killed();
  }
  call(CLOSE, socket, 0, 0, 0, 0, 0);
  return heard != SILENT;
}

/* Opens a directory in another, if it is this user's alone. */
static long open_own(long parent, const char *name) {
  long folder = call(OPENAT, parent, (long)name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, 0, 0);
  if (IS_ERROR(folder) || is_own(folder)) return folder;
  call(CLOSE, folder, 0, 0, 0, 0, 0);
  return -1;
}

/* Exits as `start` if a spare of this kin that was `given` the same does the work; returns when there is none. */
static void hire(const char *kin, word given, char **words, const char *manager) {
  struct loan loan;
  char entries[4096] __attribute__((aligned(8)));
  int is_worth_it = 1;
  /* Before anything takes the place of a closed stream. */
  for (long stream = 0; stream < LENT - 1; stream++)
    if (IS_ERROR(call(FCNTL, stream, F_GETFD, 0, 0, 0, 0))) return;
  long kins = open_own(AT_FDCWD, SPARES_DIRECTORY);
  if (IS_ERROR(kins)) return;
  long folder = open_own(kins, kin);
  if (!IS_ERROR(folder) && prepare(&loan, words, manager)) {
    long length = call(GETDENTS64, folder, (long)entries, sizeof(entries), 0, 0, 0);
    for (long at = 0; at < length && is_worth_it;) {
      struct entry *entry = (struct entry *)(entries + at);
      at += entry->length;
      if (*entry->name == '.' || !is_still_kin(folder, entry->name, given)) continue;
      long socket = claim(folder, entry->name);
      if (socket >= 0) is_worth_it = try_spare(socket, &loan);
    }
    call(CLOSE, loan.rights.descriptors[LENT - 1], 0, 0, 0, 0, 0);
    /* If it is empty. */
    call(UNLINKAT, kins, (long)kin, AT_REMOVEDIR, 0, 0, 0);
  }
  if (!IS_ERROR(folder)) call(CLOSE, folder, 0, 0, 0, 0, 0);
  call(CLOSE, kins, 0, 0, 0, 0, 0);
}
