-- A steady rate instead of as fast as possible, and a result that a program can read.
local pause

function init(args)
    pause = tonumber(args[1])
end

function delay()
    return pause -- milliseconds before each request of a connection
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\nRESULT {"sent":%d,"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"slowest":%.3f,"p50":%.3f,"p99":%.3f}\n',
        summary.requests, errors.status, errors.connect, errors.read, errors.write, errors.timeout,
        latency.max / 1e3, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3 -- milliseconds
    ))
end
