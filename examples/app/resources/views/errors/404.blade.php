@include('errors.page', ['title' => 'Not found', 'text' => 'There is no such page here.'])
