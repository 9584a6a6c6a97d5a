/*
 * lacking_places.h
 *		Shows, while a joining node waits for members, which of them has no place for an origin.
 */
#ifndef REPLICATION_PLUGIN_LACKING_PLACES_H
#define REPLICATION_PLUGIN_LACKING_PLACES_H

#include "base/moment.h"

/*
 * Called again and again while this node waits. *asked_at is 0 at first, and afterwards belongs to
 * this function.
 */
extern void lacking_places_round(Moment *asked_at);

/* Called when this node waits no more. */
extern void lacking_places_end(void);

#endif							/* REPLICATION_PLUGIN_LACKING_PLACES_H */
