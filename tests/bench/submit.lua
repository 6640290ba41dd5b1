-- SPDX-License-Identifier: Apache-2.0
-- wrk's part of the queue benchmark: a durable submit of 1 KB, and the figures as one line of JSON.
-- Arguments: the model's number.
function init(args)
    wrk.method = "POST"
    wrk.path = "/api/v1/tasks"
    wrk.body = '{"model_id":' .. args[1] .. ',"type":"text-generation","priority":2,"input":"' .. string.rep("x", 950) .. '"}'
    wrk.headers["Content-Type"] = "application/json"
end

function done(summary, latency)
    io.write(string.format('{"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
