// SPDX-License-Identifier: Apache-2.0
/* The description of every route, for who has the program but no daemon. Only the two rooms that
 * hold route tables are made, with nothing below them: their handlers never run. */
#include "api/api.h"
#include "base/mem.h"
#include "daemon/daemon.h"
#include "gateway/gateway.h"

static json_t *describe(struct world *world, const struct config *config, struct metrics *metrics)
{
    struct gateway *gateway = gateway_create(
        &(struct gateway_in){ .world = world, .config = config, .metrics = metrics });
    struct api *api = api_create(&(struct api_in){ .world = world, .config = config });
    struct router *router = router_create();
    json_t *document;

    api_add_routes(api, router);
    router_add(router, gateway_routes(gateway));
    router_add(router, gateway_anthropic_routes(gateway));
    router_add(router, gateway_ollama_routes(gateway));
    document = openapi_document(router, BERTH_VERSION);
    router_destroy(router);
    api_destroy(api);
    gateway_destroy(gateway);
    return document;
}

int daemon_openapi(json_t **ret, struct error *reterr)
{
    static const char *const no_environment[] = { NULL };
    struct config *config = NULL;
    struct world *world;
    struct metrics *metrics;
    const int r = config_load(NULL, no_environment, daemon_option_tables(), &config, reterr);

    if (r < 0) {
        return r;
    }
    world = world_create();
    metrics = metrics_create();
    *ret = describe(world, config, metrics);
    metrics_destroy(metrics);
    world_destroy(world);
    config_free(config);
    return 0;
}
