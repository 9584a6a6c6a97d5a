/*
 * replay.h
 *		The messages of the transaction at hand, kept so that it can be applied again
 *		after a deadlock or the like without asking the provider for it.
 */
#ifndef REPLICATION_PLUGIN_REPLAY_H
#define REPLICATION_PLUGIN_REPLAY_H

#include "lib/stringinfo.h"

typedef struct Replay
{
	StringInfoData data;		/* all messages, each after its length */
	bool		complete;		/* all since replay_start() are in it */
} Replay;

/* Forgets everything: a new transaction begins. */
extern void replay_start(Replay *r);

/* Adds one message. What does not fit makes the transaction impossible to replay. */
extern void replay_add(Replay *r, const char *data, int len);

/* True if all messages since replay_start() are here. */
extern bool replay_complete(const Replay *r);

/* Message number i, NULL behind the last. */
extern const char *replay_message(const Replay *r, int i, int *len);

#endif							/* REPLICATION_PLUGIN_REPLAY_H */
