/*
 * Requests and their answers, whatever the line does to both; for the driver's own use.
 *
 * The device answers in the order in which frames reach it. So an answer tells that every frame
 * sent before its own, and still unanswered, was lost on the way out or back: these are sent again
 * at once, under the same sequence number. Everything unanswered is sent again after a silence.
 */

#ifndef FIRSTSPIKE_EXCHANGE_H
#define FIRSTSPIKE_EXCHANGE_H

#include "firstspike.h"

struct firstspike_request {
    uint8_t op;
    uint32_t arg;
    const uint8_t *payload;
    size_t count;
};

/* Requests that are made one after the other. */
struct firstspike_task {
    uint32_t requests;
    size_t longest;  /* payload of any of them, in bytes */
    uint8_t *answer; /* where payloads of answers go as they come in */
    size_t capacity;
    /* The device takes each request only after those before it, and tells if it comes twice. */
    bool in_turn;
    /* Makes request `index`, again if it got lost; its payload has to last until it is sent. */
    enum firstspike_error (*make)(void *context, uint32_t index, struct firstspike_request *request);
    /* Takes an answer of `count` bytes, of which `capacity` were kept; NULL if it was lost, but a
       request in turn was carried out. Answers may come in another order than their requests. */
    enum firstspike_error (*take)(void *context, uint32_t index, const uint8_t *payload,
                                  size_t count);
    void *context;
};

/*
 * Carries a task out. After the first error nothing new is asked, but what is on its way is waited
 * for, so that the next task finds the line quiet. NO_ANSWER and LINE_LOST end the connection.
 */
enum firstspike_error firstspike_exchange(struct firstspike *device,
                                          const struct firstspike_task *task);

/*
 * Makes one request, whose answer has `count` bytes: BAD_ANSWER if it has not.
 */
enum firstspike_error firstspike_call(struct firstspike *device,
                                      const struct firstspike_request *request, uint8_t *answer,
                                      size_t count);

#endif
