/*
 * replay.h
 *		Keeps the messages of the current transaction, so that it can be applied again, for
 *		example
 *		after a deadlock, without asking the provider for it.
 */
#ifndef REPLICATION_PLUGIN_REPLAY_H
#define REPLICATION_PLUGIN_REPLAY_H

#include "lib/stringinfo.h"

typedef struct Replay
{
	StringInfoData data;		/* all messages, each after its length */
	bool		complete;		/* it has all messages since replay_start() */
} Replay;

/* Forgets everything, as a new transaction begins. */
extern void replay_start(Replay *r);

/* Adds one message. A message that does not fit makes it impossible to replay the transaction. */
extern void replay_add(Replay *r, const char *data, int len);

/* Returns true if all messages since replay_start() are kept. */
extern bool replay_complete(const Replay *r);

/* Returns message number i, counted from 0, or NULL if there is none. Sets *len. */
extern const char *replay_message(const Replay *r, int i, int *len);

#endif							/* REPLICATION_PLUGIN_REPLAY_H */
