// SPDX-License-Identifier: Apache-2.0
/*
 * The schemas that the route tables name, as one table; ' stands for ". What berth answers is
 * described whole, what it takes is described as far as it looks at it.
 */
#include "api/api_int.h"

#define STR       "{'type':'string'}"
#define INT       "{'type':'integer'}"
#define BOOL      "{'type':'boolean'}"
#define NUM       "{'type':'number'}"
#define STR_NULL  "{'type':['string','null']}"
#define INT_NULL  "{'type':['integer','null']}"
#define NUM_NULL  "{'type':['number','null']}"
#define TIME      "{'type':'string','format':'date-time'}"
#define TIME_NULL "{'type':['string','null'],'format':'date-time'}"
#define INTS      "{'type':'array','items':{'type':'integer'}}"
#define STRS      "{'type':'array','items':{'type':'string'}}"
#define OBJECT    "{'type':'object'}"

// clang-format off
const struct schema api_schemas[] = {
    { "Any", OBJECT },
    { "ErrorDetail",
      "{'type':'object','required':['detail'],'properties':{'detail':{'oneOf':[" STR ",{'type':'array','items':{'type':'object',"
      "'properties':{'loc':{'type':'array','items':{'type':['string','integer']}},'msg':" STR ",'type':" STR "}}}]}}}" },
    { "ErrorOpenAI",
      "{'type':'object','required':['error'],'properties':{'error':{'type':'object','required':['message','type'],"
      "'properties':{'message':" STR ",'type':" STR ",'param':" STR_NULL ",'code':{'type':['string','integer','null']}}}}}" },
    { "ErrorAnthropic",
      "{'type':'object','required':['type','error'],'properties':{'type':{'const':'error'},'error':{'type':'object',"
      "'required':['type','message'],'properties':{'type':" STR ",'message':" STR "}}}}" },
    { "ErrorOllama", "{'type':'object','required':['error'],'properties':{'error':" STR "}}" },
    { "ErrorProxy",
      "{'type':'object','required':['error','model_id','path','timestamp'],'properties':{'error':" STR ",'model_id':" STR ",'path':" STR ","
      "'timestamp':" TIME "}}" },
    { "ErrorEnvelope",
      "{'type':'object','required':['code','message'],'properties':{'code':" INT ",'message':" STR "}}" },
    { "Done",
      "{'type':'object','required':['success','message','model_id'],"
      "'properties':{'success':" BOOL ",'message':" STR ",'model_id':" STR "}}" },
    { "ModelConfig",
      "{'type':'object','required':['id','name','framework','model_path','priority','resource_requirements'],'properties':{"
      "'id':{'type':'string','minLength':1,'maxLength':255},'name':{'type':'string','minLength':1,'maxLength':255},"
      "'framework':" STR ",'model_path':{'type':'string','minLength':1},'priority':{'type':'integer','minimum':1,'maximum':10},"
      "'gpu_devices':" INTS ",'additional_parameters':" STR_NULL ",'parameters':" OBJECT ",'autostart':" BOOL ","
      "'pinned':" BOOL ",'on_demand':" BOOL ",'replicas':{'type':'integer','minimum':1,'maximum':32},"
      "'aliases':{'type':'array','maxItems':32,'items':{'type':'string','minLength':1,'maxLength':255}},"
      "'keep_alive':{'type':['integer','number','string','null'],'description':'Seconds, a duration such as 5m, or negative: for ever. How long the model stays after its last request.'},"
      "'resource_requirements':{'type':'object','required':['gpu_memory'],'properties':{'gpu_memory':" INT ",'gpu_devices':" INTS ","
      "'cpu_cores':" INT_NULL ",'system_memory':" INT_NULL "}},"
      "'health_check':{'type':'object','properties':{'enabled':" BOOL ",'interval':" INT ",'timeout':" INT ",'max_failures':" INT ","
      "'endpoint':" STR_NULL "}},"
      "'retry_policy':{'type':'object','properties':{'enabled':" BOOL ",'max_attempts':" INT ",'initial_delay':" NUM ","
      "'max_delay':" NUM ",'backoff_factor':" NUM "}},'created_at':" TIME_NULL ",'updated_at':" TIME_NULL "}}" },
    { "ModelInfo",
      "{'type':'object','required':['id','name','framework','model_path','status','priority','gpu_devices'],'properties':{"
      "'id':" STR ",'name':" STR ",'framework':" STR ",'model_path':" STR ","
      "'status':{'type':'string','enum':['stopped','starting','running','error','stopping','preempted']},"
      "'priority':" INT ",'gpu_devices':" INTS ",'memory_usage':" INT_NULL ",'api_endpoint':" STR_NULL ",'uptime':" NUM_NULL ","
      "'last_health_check':" TIME_NULL ",'replicas':" INT ",'aliases':" STRS "}}" },
    { "ModelInfoList", "{'type':'array','items':{'$ref':'#/components/schemas/ModelInfo'}}" },
    { "ModelStatus",
      "{'type':'object','required':['model_id','status','health'],'properties':{'model_id':" STR ","
      "'status':{'type':'string','enum':['stopped','starting','running','error','stopping','preempted']},"
      "'health':{'type':'string','enum':['healthy','unhealthy','unknown']},'timestamp':" TIME_NULL "}}" },
    { "ModelHealth",
      "{'type':'object','required':['model_id','health_status'],'properties':{'model_id':" STR ","
      "'health_status':{'type':'string','enum':['healthy','unhealthy','unknown']},'health_result':{'type':['object','null']},"
      "'timestamp':" TIME_NULL "}}" },
    { "HealthCheck",
      "{'type':'object','required':['success','message','model_id'],'properties':{'success':" BOOL ",'message':" STR ","
      "'model_id':" STR ",'health_result':{'type':['object','null']}}}" },
    { "ValidationResult",
      "{'type':'object','required':['is_valid','errors','warnings'],"
      "'properties':{'is_valid':" BOOL ",'errors':" STRS ",'warnings':" STRS "}}" },
    { "Instance",
      "{'type':'object','required':['model','id','state','replica','remote','pid','start_time'],'properties':{'model':" STR_NULL ",'id':" STR ","
      "'state':{'type':'string','enum':['starting','ready','draining','stopping','backoff','failed']},'replica':" INT ",'remote':" BOOL ",'sleeping':" BOOL ",'weight':" INT ",'pid':" INT_NULL ",'start_time':" INT_NULL ","
      "'socket':" STR_NULL ",'address':" STR ",'log':" STR_NULL ",'slots':" INT ",'restarts':" INT ",'adopted':" BOOL ","
      "'last_error':" STR_NULL ",'ready_in_ms':" INT ",'uptime':" NUM_NULL ",'in_flight':" INT ",'waiting':" INT ","
      "'breaker':{'enum':['closed','open','half_open',null]},'requests':" INT_NULL ",'errors':" INT_NULL ","
      "'consecutive_failures':" INT_NULL ",'response_ms':" INT_NULL ",'expires_at':" TIME_NULL "}}" },
    { "InstanceList",
      "{'type':'object','required':['instances'],'properties':{'instances':{'type':'array','items':{'$ref':'#/components/schemas/Instance'}}}}" },
    { "ProxyTarget",
      "{'type':'object','required':['model_id','endpoint','framework','priority','weight','active'],'properties':{'model_id':" STR ","
      "'endpoint':" STR ",'framework':" STR ",'priority':" INT ",'weight':" INT ",'active':{'type':'boolean',"
      "'description':'It is ready and its breaker is not open.'},'last_health_check':" TIME_NULL ",'consecutive_failures':" INT ","
      "'total_requests':" INT ",'total_response_time':" INT ",'error_count':" INT ",'average_response_time':{'type':'number',"
      "'description':'Milliseconds, a moving average.'}}}" },
    { "ProxyTargetList", "{'type':'array','items':{'$ref':'#/components/schemas/ProxyTarget'}}" },
    { "ProxyTargets",
      "{'type':'object','required':['targets','total_models','timestamp'],'properties':{'targets':{'type':'object','additionalProperties':"
      "{'$ref':'#/components/schemas/ProxyTargetList'}},'total_models':" INT ",'timestamp':" TIME "}}" },
    { "ProxyStats",
      "{'type':'object','required':['summary','models','timestamp'],'properties':{'summary':{'type':'object','properties':{"
      "'total_models':" INT ",'total_targets':" INT ",'active_targets':" INT ",'total_requests':" INT ",'total_errors':" INT ","
      "'average_response_time':" NUM ",'error_rate':" NUM "}},'models':{'type':'object','additionalProperties':{'type':'object',"
      "'properties':{'total_targets':" INT ",'active_targets':" INT ",'targets':{'$ref':'#/components/schemas/ProxyTargetList'}}}},"
      "'timestamp':" TIME "}}" },
    { "ProxyModelStats",
      "{'type':'object','required':['model_id','time_range_hours','stats','timestamp'],'properties':{'model_id':" STR ","
      "'time_range_hours':" INT ",'stats':{'type':'object','properties':{'request_count':" INT ",'error_count':" INT ","
      "'average_response_time':" NUM ",'error_rate':" NUM ",'throughput':" NUM ",'prompt_tokens':" INT ",'output_tokens':" INT ","
      "'complete':{'type':'boolean','description':'The history that is kept reaches back over all of these hours.'},"
      "'total_targets':" INT ",'active_targets':" INT ",'since_start':{'type':'object','properties':{'total_requests':" INT ","
      "'total_errors':" INT ",'total_response_time':" INT "}}}},'timestamp':" TIME "}}" },
    { "ProxyHistory",
      "{'type':'object','required':['requests','total_count','model_id_filter','limit','timestamp'],'properties':{'requests':{'type':'array',"
      "'items':{'type':'object','properties':{'model_id':" STR ",'timestamp':" TIME ",'method':" STR ",'path':" STR ",'status_code':" INT ","
      "'response_time':" INT ",'request_size':" INT ",'response_size':" INT ",'client_ip':" STR ",'user_agent':" STR ",'queue_time':" INT ","
      "'first_byte_time':" INT ",'prompt_tokens':" INT ",'output_tokens':" INT ",'instance':" STR ",'error_message':" STR "}}},"
      "'total_count':" INT ",'model_id_filter':" STR_NULL ",'limit':" INT ",'timestamp':" TIME "}}" },
    { "ProxyStrategy",
      "{'type':'object','required':['success','message','strategy','updated_at'],'properties':{'success':" BOOL ",'message':" STR ","
      "'strategy':" STR ",'updated_at':" TIME "}}" },
    { "ProxyHealth",
      "{'type':'object','required':['status','total_models','total_targets','active_targets','inactive_targets','timestamp','message'],"
      "'properties':{'status':{'type':'string','enum':['healthy','degraded','unhealthy']},'total_models':" INT ",'total_targets':" INT ","
      "'active_targets':" INT ",'inactive_targets':" INT ",'timestamp':" TIME ",'message':" STR "}}" },
    { "GPUInfo",
      "{'type':'object','required':['device_id','name','vendor','memory_total','memory_used','memory_free','utilization','temperature',"
      "'power_usage','driver_version'],'properties':{'device_id':" INT ",'name':" STR ","
      "'vendor':{'type':'string','enum':['nvidia','amd','intel','unknown']},'memory_total':{'type':'integer','description':'All memory is in MiB.'},"
      "'memory_used':" INT ",'memory_free':" INT ",'utilization':{'type':'number','minimum':0,'maximum':100},'temperature':" NUM ",'power_usage':" NUM ","
      "'driver_version':" STR_NULL ",'id':" STR ",'uuid':" STR_NULL ",'pci':" STR_NULL ",'cpu':" BOOL ",'mig':" BOOL ","
      "'status':{'type':'string','enum':['ok','unresponsive']},'memory_foreign':{'type':'integer','description':'Of the used: held by nobody of ours.'},"
      "'power_limit':" NUM ",'clock':" NUM ",'memory_clock':" NUM ",'not_told':{'type':'array','items':" STR ","
      "'description':'Figures that the device does not tell; they are 0.'},'timestamp':" TIME ",'processes':{'type':'array','items':"
      "{'type':'object','required':['pid','memory','ours'],'properties':{'pid':" INT ",'memory':" INT_NULL ",'ours':" BOOL "}}}}}" },
    { "GPUInfoList", "{'type':'array','items':{'$ref':'#/components/schemas/GPUInfo'}}" },
    { "SystemOverview",
      "{'type':'object','required':['total_models','running_models','total_gpus','available_gpus','total_gpu_memory','used_gpu_memory',"
      "'system_uptime','last_updated'],'properties':{'total_models':" INT ",'running_models':" INT ",'total_gpus':" INT ","
      "'available_gpus':{'type':'integer','description':'Those that are less than 80 % busy.'},'total_gpu_memory':" INT ","
      "'used_gpu_memory':" INT ",'system_uptime':" INT ",'last_updated':" TIME "}}" },
    { "SystemResourceMetrics",
      "{'type':'object','required':['timestamp','cpu_usage','memory_usage','memory_total','memory_used','disk_usage','disk_total','disk_used',"
      "'network_sent','network_recv','load_average'],'properties':{'timestamp':" TIME ",'cpu_usage':" NUM ",'memory_usage':" NUM ","
      "'memory_total':" INT ",'memory_used':" INT ",'disk_usage':" NUM ",'disk_total':" NUM ",'disk_used':" NUM ",'network_sent':" INT ","
      "'network_recv':" INT ",'load_average':{'type':'array','minItems':3,'maxItems':3,'items':" NUM "}}}" },
    { "Event",
      "{'type':'object','required':['id','at','kind','subject','data'],'properties':{'id':" INT ",'at':" TIME ",'kind':" STR ","
      "'subject':" STR ",'data':" OBJECT "}}" },
    { "EventList",
      "{'type':'object','required':['events'],'properties':{'events':{'type':'array','items':{'$ref':'#/components/schemas/Event'}}}}" },
    { "Health",
      "{'type':'object','required':['status','service','version','timestamp','database','redis'],'properties':{"
      "'status':{'type':'string','enum':['healthy','degraded']},'service':" STR ",'name':" STR ",'version':" STR ",'timestamp':" TIME ","
      "'database':{'type':'string','enum':['ok','read_only']},'redis':{'const':'disabled'},'uptime':" INT ",'reason':" STR "}}" },
    { "Ready",
      "{'type':'object','required':['status','reasons','models'],'properties':{"
      "'status':{'type':'string','enum':['starting','ready','draining']},'reasons':" STRS ",'models':{'type':'object','properties':{"
      "'defined':" INT ",'wanted':" INT ",'ready':" INT ",'failed':" INT "}}}}" },
    { "Root",
      "{'type':'object','required':['name','version','status','code','message','data'],'properties':{'name':" STR ",'version':" STR ","
      "'status':" STR ",'code':" INT ",'message':" STR ",'data':" OBJECT "}}" },
    { "Config",
      "{'type':'object','required':['options'],'properties':{'path':" STR_NULL ",'data_dir':" STR ",'options':{'type':'object',"
      "'additionalProperties':{'type':'object','additionalProperties':{'type':'object','properties':{'value':{},'source':" STR "}}}}}}" },
    { "OpenAIModel",
      "{'type':'object','required':['id','object','created','owned_by'],'properties':{'id':" STR ",'object':{'const':'model'},"
      "'created':" INT ",'owned_by':" STR ",'status':" STR "}}" },
    { "OpenAIModelList",
      "{'type':'object','required':['object','data'],'properties':{'object':{'const':'list'},"
      "'data':{'type':'array','items':{'$ref':'#/components/schemas/OpenAIModel'}}}}" },
    { "Usage",
      "{'type':'object','properties':{'prompt_tokens':" INT ",'completion_tokens':" INT ",'total_tokens':" INT "}}" },
    { "ChatCompletionRequest",
      "{'type':'object','required':['model','messages'],'properties':{'model':" STR ",'messages':{'type':'array','items':{'type':'object',"
      "'required':['role'],'properties':{'role':{'type':'string','examples':['user']},'content':{'examples':['Hello']}}}},'stream':" BOOL ",'stream_options':{'type':['object','null'],"
      "'properties':{'include_usage':" BOOL "}},'max_tokens':" INT_NULL ",'max_completion_tokens':" INT_NULL "},"
      "'description':'Members that are not named here reach the engine as they came.'}" },
    { "ChatCompletion",
      "{'type':'object','properties':{'id':" STR ",'object':" STR ",'created':" INT ",'model':" STR ",'choices':{'type':'array','items':"
      OBJECT "},'usage':{'$ref':'#/components/schemas/Usage'}}}" },
    { "CompletionRequest",
      "{'type':'object','required':['model','prompt'],'properties':{'model':" STR ",'prompt':{},'stream':" BOOL ","
      "'stream_options':{'type':['object','null'],'properties':{'include_usage':" BOOL "}},'max_tokens':" INT_NULL "},"
      "'description':'Members that are not named here reach the engine as they came.'}" },
    { "Completion",
      "{'type':'object','properties':{'id':" STR ",'object':" STR ",'created':" INT ",'model':" STR ",'choices':{'type':'array','items':"
      OBJECT "},'usage':{'$ref':'#/components/schemas/Usage'}}}" },
    { "RerankRequest",
      "{'type':'object','required':['model','query','documents'],'properties':{'model':" STR ",'query':" STR ",'documents':{'type':'array',"
      "'items':" STR "},'top_n':" INT "}}" },
    { "RerankResult",
      "{'type':'object','properties':{'model':" STR ",'results':{'type':'array','items':{'type':'object','properties':{'index':" INT ","
      "'relevance_score':" NUM "}}},'usage':{'$ref':'#/components/schemas/Usage'}}}" },
    { "ResponseRequest",
      "{'type':'object','required':['model','input'],'properties':{'model':" STR ",'input':{},'instructions':" STR_NULL ",'stream':" BOOL ","
      "'max_output_tokens':" INT_NULL "}}" },
    { "Response",
      "{'type':'object','properties':{'id':" STR ",'object':" STR ",'status':" STR ",'model':" STR ",'output':{'type':'array','items':" OBJECT "},"
      "'usage':{'type':'object','properties':{'input_tokens':" INT ",'output_tokens':" INT ",'total_tokens':" INT "}}}}" },
    { "MessageRequest",
      "{'type':'object','required':['model','messages'],'properties':{'model':" STR ",'messages':{'type':'array','items':{'type':'object',"
      "'required':['role','content'],'properties':{'role':{'enum':['user','assistant']},'content':{'examples':['Hello']}}}},'max_tokens':" INT ",'system':{},"
      "'stream':" BOOL "}}" },
    { "Message",
      "{'type':'object','properties':{'id':" STR ",'type':{'const':'message'},'role':{'const':'assistant'},'model':" STR ","
      "'content':{'type':'array','items':" OBJECT "},'stop_reason':" STR_NULL ",'usage':{'type':'object','properties':{"
      "'input_tokens':" INT ",'output_tokens':" INT "}}}}" },
    { "MessageTokens", "{'type':'object','properties':{'input_tokens':" INT "}}" },
    { "EmbeddingRequest",
      "{'type':'object','required':['model','input'],'properties':{'model':" STR ",'input':{}}}" },
    { "EmbeddingList",
      "{'type':'object','properties':{'object':" STR ",'model':" STR ",'data':{'type':'array','items':" OBJECT "},"
      "'usage':{'$ref':'#/components/schemas/Usage'}}}" },
};
// clang-format on
const size_t api_schema_count = ARRAY_SIZE(api_schemas);
